"""Phone labels: files in the formats of the field, phone sets, labels of frames."""
