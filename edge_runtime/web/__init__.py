"""The web page: live view, charts, state, metrics; docs/outputs.md says how to open it.

Without ``--serve`` none of it is loaded, and aiohttp and prometheus_client never are.
"""
