"""Settings of the site that `.ci/docs.py` builds; Sphinx reads them."""
import os
import re

import snowballstemmer
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.search.en import SearchEnglish
from sphinx.util import logging

project, author, html_title = "zhrlhf", "The zhrlhf developers", "zhrlhf"
project_copyright = "the zhrlhf developers, Apache-2.0"
extensions = ["myst_nb"]
exclude_patterns = []
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "misc.highlighting_failure",
                     "toc.not_included", "app.add_node", "ref.python", "config.cache"]
nb_execution_mode = "off"                                # the outputs of the notebooks are shown as they are
nb_merge_streams = True
nb_code_prompt_show = nb_code_prompt_hide = "Solution"    # only the solutions of exercises are folded
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
myst_heading_slug_func = "docs.anchor"
myst_dmath_allow_labels = False
highlight_language = "none"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = html_show_sourcelink = False
html_search_language = "mixed"
html_math_renderer = "mathml"
html_theme_options = {"source_repository": os.environ["ZHRLHF_SITE"] + "/", "source_branch": "main",
                      "source_directory": "nbs/", "top_of_page_buttons": ["view"]}
HAN = r"[\u3400-\u9fff]"


class MixedSearch(SearchEnglish):
    "English words by their stem, Chinese text by pairs of neighbouring characters, so that any phrase is found"
    lang, language_name = "mixed", "English"             # the name of the stemmer that the browser uses
    js_splitter_code = """
function splitQuery(query) {
  const found = [];
  for (const word of query.match(/[\\u3400-\\u9fff]+|(?:(?![\\u3400-\\u9fff])[\\p{Letter}\\p{Number}_])+/gu) || []) {
    if (!/[\\u3400-\\u9fff]/.test(word) || word.length < 3) { found.push(word); continue; }
    for (let i = 0; i + 1 < word.length; i++) found.push(word.slice(i, i + 2));
  }
  return found;
}
"""

    def split(self, text):
        words = []
        for word in re.findall(rf"{HAN}+|[^\W\u3400-\u9fff]+", text):
            pairs = len(word) > 2 and re.match(HAN, word)
            words += [word[i:i + 2] for i in range(len(word) - 1)] if pairs else [word]
        return words

    def __init__(self, options):
        super().__init__(options)
        self.stemmer = snowballstemmer.stemmer("english")


def math_in(writer, node, display):
    "Put a formula into the page as MathML, which browsers draw without a script"
    try:
        text = convert(node.astext(), display=display)
    except Exception as error:                           # whatever the converter cannot read stays TeX
        logging.getLogger(__name__).warning("formula %r: %s", node.astext()[:80], error, location=node)
        text = f"<code>{writer.encode(node.astext())}</code>"
    writer.body.append(f'<div class="formula">{text}</div>' if display == "block" else text)
    raise nodes.SkipNode


def setup(app):
    app.add_search_language(MixedSearch)
    app.add_html_math_renderer("mathml", (lambda w, n: math_in(w, n, "inline"), None),
                               (lambda w, n: math_in(w, n, "block"), None))
