"""`make up`: all of Quartermaster on one machine, started, watched and stopped.

Owns: options, data folder and lock, secrets, order of start, restarts, progress in up.json.
Does not own: what the processes do. It talks to them by command line, files and HTTP only.
May import: sandbox and the standard library.
Start reading at `supervisor.py`, then `lanes.py`, which says what starts in which order.
"""
