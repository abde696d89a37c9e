"""Calibration: what do layers, KV operations and transfers really cost on this device?

`python -m calibrate` at the top of the repository, `simkv calibrate` anywhere. PyTorch lives here alone, and only in
the modules that touch a device: `device`, `layer`, `kv_probes`, `probes`, `pipeline`.
"""
