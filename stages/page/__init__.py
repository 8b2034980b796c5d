"""The content of the stage report's page: charts in Vega-Lite, drawings of networks, pictures, and
the templates."""
