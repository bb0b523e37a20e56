"""How good a conversion is, measured on recordings and not on the model that made them."""
