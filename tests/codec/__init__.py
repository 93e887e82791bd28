"""The XML and JSON codecs over the toy modules."""
