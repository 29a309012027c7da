// Wide tables scroll sideways on narrow screens; the keyboard must reach them too.
"use strict";
window.addEventListener("load", () => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) table.tabIndex = 0;
});
