// The navigation in Chinese or English: "name ‖ 名称" in the sidebar becomes two spans, and a button switches them.
addEventListener("DOMContentLoaded", () => {
  const body = document.body, known = localStorage.getItem("language");
  body.dataset.language = known || (navigator.language.startsWith("zh") ? "zh" : "en");
  for (const link of document.querySelectorAll(".sidebar-tree a, .sidebar-tree .caption-text, .related-pages .title")) {
    const [english, chinese] = link.textContent.split(" ‖ ");
    if (!chinese) continue;
    link.replaceChildren(...[["en", english], ["zh", chinese]].map(([language, text]) => {
      const span = document.createElement("span");
      span.className = `lang-${language}`;
      span.textContent = text;
      return span;
    }));
  }
  const place = document.querySelector(".sidebar-search-container"), button = document.createElement("button");
  const label = () => { button.textContent = body.dataset.language === "zh" ? "English" : "中文导航"; };
  button.className = "language-switch";
  button.onclick = () => {
    body.dataset.language = body.dataset.language === "zh" ? "en" : "zh";
    localStorage.setItem("language", body.dataset.language);
    label();
  };
  label();
  if (place) place.after(button);
});
