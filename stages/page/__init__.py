"""What the stage report makes its page of: charts in Vega-Lite, drawings of networks, pictures, and
the templates."""
