/* What the theme leaves out for readers without a mouse: a name of the search, and wide tables that keys can scroll. */
window.addEventListener("load", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((wide) => { wide.tabIndex = 0; });
});
