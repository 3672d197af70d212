"""TensorFlow: SavedModel folders and Keras files as the ONNX that AI Hub makes of them."""
