"""goldenlake: SQL tables that turn Common Crawl WARC files into training sets.

Read `etl.stage` first, then any module of `etl.stages`: a stage is a pure function from
tables to a table, and `etl.runner` does all reading, checking and writing.
"""

__version__ = "0.1.0"
