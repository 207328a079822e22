"""Several processes that train one model: what they have to agree on."""
