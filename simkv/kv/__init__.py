"""KV blocks, runs of them, and the bounded buffers that hold them."""
