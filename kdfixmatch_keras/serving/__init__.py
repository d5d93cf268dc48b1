"""Using a trained network: predicting, saving, exporting."""
