"""The nouns, ids, errors, token, reward and ports. Pure: the standard library and msgspec only."""
