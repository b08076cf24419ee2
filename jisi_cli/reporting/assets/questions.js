"use strict";

// The question browser. Only the rows in view exist, so that 50,000 of them scroll like fifty.
(() => {
  const HEIGHT = 36;
  const SPARE = 6;
  const { names, questions, methods, texts } = DATA;
  const host = document.getElementById("browser");
  if (!methods || !methods.length) return;

  const named = (at) => (at < 0 ? "–" : names[at]);
  const shown = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString());
  const state = { method: 0, text: "", dataset: "", outcome: "", sort: "", down: false, rows: [] };

  host.append(element("h2", "Questions"));
  host.append(element("p", texts ? "Click a question to open it." :
    "The texts of the questions were not kept in the results; their names are shown.", "note"));

  const controls = element("div", undefined, "controls");
  const search = element("input");
  search.type = "search";
  search.placeholder = "Search";
  search.setAttribute("aria-label", "Search questions");
  const method = choice("Method", methods.map((found, at) => [at, found.name]));
  const dataset = choice("Dataset", [["", "All datasets"],
    ...[...new Set(questions.map((question) => question[0]))].map((at) => [at, named(at)])]);
  const outcome = choice("Outcome", [["", "Right and wrong"], ["right", "Right"], ["wrong", "Wrong"], ["none", "No score"]]);
  controls.append(search, method, dataset, outcome);
  const count = element("p", "", "note");
  count.setAttribute("role", "status");

  const head = element("div", undefined, "head");
  const sorters = { dataset: "Dataset", question: "Question", model: "Model", score: "Score", mode: "Mode" };
  for (const [key, label] of Object.entries(sorters)) {
    const button = element("button", label);
    button.type = "button";
    button.dataset.sort = key;
    button.addEventListener("click", () => {
      state.down = state.sort === key && !state.down;
      state.sort = key;
      for (const other of head.children) other.textContent = sorters[other.dataset.sort];
      button.textContent = `${label} ${state.down ? "↓" : "↑"}`;
      select();
    });
    head.append(button);
  }
  const view = element("div", undefined, "rows");
  view.tabIndex = 0;
  view.setAttribute("aria-label", "Questions");
  const tall = element("div");
  view.append(tall);
  const opened = element("div", undefined, "opened");
  opened.setAttribute("aria-live", "polite");
  host.append(controls, count, head, view, opened);

  function choice(label, options) {
    const made = element("select");
    made.setAttribute("aria-label", label);
    for (const [value, text] of options) {
      const option = element("option", text);
      option.value = value;
      made.append(option);
    }
    return made;
  }

  function title(at) {
    return texts ? texts[at] : questions[at][1];
  }

  function fits(at) {
    const score = methods[state.method].score[at];
    const kind = score === null ? "none" : score >= 0.5 ? "right" : "wrong";
    return (state.dataset === "" || questions[at][0] === Number(state.dataset))
      && (state.outcome === "" || kind === state.outcome)
      && (state.text === "" || title(at).toLowerCase().includes(state.text)
        || questions[at][1].toLowerCase().includes(state.text));
  }

  function sortKey(at) {
    const found = methods[state.method];
    if (state.sort === "score") return found.score[at] === null ? -1 : found.score[at];
    if (state.sort === "question") return title(at);
    return named({ dataset: questions[at][0], model: found.model[at], mode: found.mode[at] }[state.sort]);
  }

  function select() {
    state.rows = [...questions.keys()].filter(fits);
    if (state.sort) {
      const keys = new Map(state.rows.map((at) => [at, sortKey(at)]));
      const order = (a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : a - b);
      state.rows.sort(state.down ? (a, b) => order(b, a) : order);
    }
    count.textContent = `${state.rows.length.toLocaleString("en")} of ${questions.length.toLocaleString("en")} questions`;
    tall.style.height = `${state.rows.length * HEIGHT}px`;
    view.scrollTop = 0;
    draw();
  }

  function draw() {
    const from = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - SPARE);
    const to = Math.min(state.rows.length, Math.ceil((view.scrollTop + view.clientHeight) / HEIGHT) + SPARE);
    tall.replaceChildren(...state.rows.slice(from, to).map((at, place) => row(at, from + place)));
  }

  function row(at, place) {
    const found = methods[state.method];
    const made = element("button", undefined, "row");
    made.type = "button";
    made.style.top = `${place * HEIGHT}px`;
    const cells = [named(questions[at][0]), title(at), named(found.model[at]), shown(found.score[at]), named(found.mode[at])];
    made.append(...cells.map((text) => element("span", text)));
    made.addEventListener("click", () => open(at));
    return made;
  }

  function open(at) {
    const table = element("table");
    const top = element("tr");
    for (const label of ["method", "score", "model", "mode", "support", "US $", "status"]) top.append(element("th", label));
    table.append(top);
    for (const found of methods) {
      const line = element("tr");
      const cells = [found.name, shown(found.score[at]), named(found.model[at]), named(found.mode[at]),
        shown(found.support[at]), shown(found.cost[at]), named(found.status[at])];
      line.append(...cells.map((text) => element("td", text)));
      table.append(line);
    }
    const scroll = element("div", undefined, "scroll");
    scroll.append(table);
    opened.replaceChildren(element("h3", `${named(questions[at][0])} / ${questions[at][1]}`));
    if (texts) opened.append(element("pre", texts[at]));
    opened.append(scroll);
    for (const found of methods) {
      if (at in found.answer) opened.append(element("h4", found.name), element("pre", found.answer[at]));
    }
    opened.scrollIntoView({ block: "nearest" });
  }

  search.addEventListener("input", () => { state.text = search.value.toLowerCase(); select(); });
  method.addEventListener("change", () => { state.method = Number(method.value); select(); });
  dataset.addEventListener("change", () => { state.dataset = dataset.value; select(); });
  outcome.addEventListener("change", () => { state.outcome = outcome.value; select(); });
  view.addEventListener("scroll", () => requestAnimationFrame(draw));
  select();
})();
