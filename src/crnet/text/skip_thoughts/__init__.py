"""Skip-thought vectors (Kiros et al. 2015): read the published encoder, or train one."""
