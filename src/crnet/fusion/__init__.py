"""From the features of the streams to scores: standardisation, extra-trees, conformal intervals."""
