"""What every room may import: types, errors, registry, config, files, logging. It imports nobody."""
