"""Web page and HTTP API of a trained system: `crnet serve`."""
