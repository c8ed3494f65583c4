"""The web page: live view, charts, state, metrics; see docs/how-to/outputs.md.

Without ``--serve`` none of it is loaded, and aiohttp and prometheus_client never are.
"""
