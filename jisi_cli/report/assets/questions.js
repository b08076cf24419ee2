"use strict";

// The table of questions. Only the rows in view exist, so that 50,000 of them scroll like fifty.
(async () => {
  const HEIGHT = 40;
  const SPARE = 6;
  const host = document.getElementById("browser");
  const data = await unpack("questions");
  const { names, datasets, indices, titles, methods, baseline, first, note } = data;
  const dialog = questionDialog(data);
  const named = (at) => (at < 0 ? "–" : names[at]);
  const searched = (titles || indices).map((title, at) => `${title} ${indices[at]}`.toLowerCase());
  const state = { method: first, text: "", dataset: "", outcome: "", sort: "", down: false, rows: [] };

  host.append(element("h2", "Questions"), element("p", note, "note"));
  const search = element("input");
  search.type = "search";
  search.placeholder = "Search";
  search.setAttribute("aria-label", "Search questions");
  const method = choice("Method", methods.map((found, at) => [at, found.name]));
  method.value = first;
  const dataset = choice("Dataset", [["", "All datasets"],
    ...[...new Set(datasets)].map((at) => [at, named(at)]).sort((a, b) => (a[1] < b[1] ? -1 : 1))]);
  const kinds = [["", "Right and wrong"], ["right", "Right"], ["wrong", "Wrong"], ["none", "No score"]];
  if (baseline >= 0) {
    const name = methods[baseline].name;
    kinds.push(["won", `Better than ${name}`], ["lost", `Worse than ${name}`]);
  }
  const outcomes = choice("Outcome", kinds);
  const controls = element("div", undefined, "controls");
  controls.append(search, method, dataset, outcomes);
  const count = element("p", "", "count");
  count.setAttribute("role", "status");

  const head = element("div", undefined, "head");
  const sorters = { dataset: "Dataset", question: "Question", model: "Answered by", mode: "Mode", margin: "Margin", score: "Outcome" };
  for (const [key, label] of Object.entries(sorters)) {
    const button = pressable(label, "", () => {
      state.down = state.sort === key && !state.down;
      state.sort = key;
      for (const other of head.children) {
        other.textContent = sorters[other.dataset.sort];
        delete other.dataset.sorted;
      }
      button.textContent = `${label} ${state.down ? "↓" : "↑"}`;
      button.dataset.sorted = "";
      select();
    });
    button.dataset.sort = key;
    head.append(button);
  }
  const view = element("div", undefined, "rows");
  view.tabIndex = 0;
  view.setAttribute("role", "region");
  view.setAttribute("aria-label", "Questions");
  const tall = element("div", undefined, "tall");
  // The head scrolls with the rows, so that a scroll bar narrows both alike.
  view.append(head, tall);
  host.append(controls, count, view);

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

  function fits(at) {
    const score = methods[state.method].score[at];
    return (state.dataset === "" || datasets[at] === Number(state.dataset))
      && (state.outcome === "" || isOutcome(score, at))
      && (state.text === "" || searched[at].includes(state.text));
  }

  function isOutcome(score, at) {
    if (state.outcome === "none") return score === null;
    if (score === null) return false;
    if (state.outcome === "right") return score >= 0.5;
    if (state.outcome === "wrong") return score < 0.5;
    const other = methods[baseline].score[at];
    return other !== null && (state.outcome === "won" ? score > other : score < other);
  }

  function sortKey(at) {
    const found = methods[state.method];
    if (state.sort === "score" || state.sort === "margin") {
      const value = found[state.sort][at];
      return value === null ? -1 : value;
    }
    if (state.sort === "question") return searched[at];
    return named({ dataset: datasets[at], model: found.model[at], mode: found.mode[at] }[state.sort]);
  }

  function select() {
    state.rows = [...datasets.keys()].filter(fits);
    if (state.sort) {
      const keys = new Map(state.rows.map((at) => [at, sortKey(at)]));
      const order = (a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : a - b);
      state.rows.sort(state.down ? (a, b) => order(b, a) : order);
    }
    count.textContent = `${state.rows.length.toLocaleString("en")} of ${datasets.length.toLocaleString("en")} questions`;
    tall.style.height = `${state.rows.length * HEIGHT}px`;
    view.scrollTop = 0;
    draw();
  }

  function draw() {
    const from = Math.max(0, Math.floor(view.scrollTop / HEIGHT) - SPARE);
    const to = Math.min(state.rows.length, Math.ceil((view.scrollTop + view.clientHeight) / HEIGHT) + SPARE);
    // A row that has the focus keeps it while others come and go.
    const focused = document.activeElement && document.activeElement.dataset.place;
    tall.replaceChildren(...state.rows.slice(from, to).map((at, place) => row(at, from + place)));
    const again = focused && tall.querySelector(`[data-place="${Number(focused)}"]`);
    if (again) again.focus({ preventScroll: true });
  }

  function row(at, place) {
    const found = methods[state.method];
    const made = pressable(undefined, "", () => dialog.open(state.rows, place));
    made.className = "row";
    made.dataset.place = place;
    made.style.top = `${place * HEIGHT}px`;
    const margin = found.margin[at] === null ? "–" : `${(100 * found.margin[at]).toFixed(1)} %`;
    const texts = [named(datasets[at]), titles ? titles[at] : indices[at], named(found.model[at]), named(found.mode[at]), margin];
    made.append(...texts.map((text) => element("span", text)), outcome(found.score[at]));
    return made;
  }

  search.addEventListener("input", () => { state.text = search.value.toLowerCase(); select(); });
  method.addEventListener("change", () => { state.method = Number(method.value); select(); });
  dataset.addEventListener("change", () => { state.dataset = dataset.value; select(); });
  outcomes.addEventListener("change", () => { state.outcome = outcomes.value; select(); });
  view.addEventListener("scroll", () => requestAnimationFrame(draw));
  select();
  host.dataset.ready = "";
})();
