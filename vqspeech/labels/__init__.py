"""Phone labels: label files, phone sets, labels per frame."""
