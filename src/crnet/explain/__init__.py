"""Where scores come from: numbers only, no HTML."""
