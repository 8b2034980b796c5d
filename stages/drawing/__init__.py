"""Charts and pictures: by matplotlib for the reports, as Vega-Lite for the pages."""
