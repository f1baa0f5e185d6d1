"""The chapter as one page that opens offline, in English or Chinese: ``chapter_page(results, lang)``."""

from numbasgd.render.chapter_page.page import chapter_page, findings

__all__ = ["chapter_page", "findings"]
