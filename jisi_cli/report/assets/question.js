"use strict";

/** One question, opened: its text, who answered it how, what was promised, what lay near, what was answered. */
function questionDialog(data) {
  const { names, datasets, indices, methods, models, solved, chunk, explained, live } = data;
  const made = element("dialog");
  const title = element("h2");
  const body = element("div", undefined, "body");
  const bar = element("div", undefined, "bar");
  const chunks = new Map();
  let rows = [], place = 0, latest = 0;

  const back = pressable("‹", "Previous question", () => go(-1));
  const next = pressable("›", "Next question", () => go(1));
  bar.append(title, back, next, pressable("Close", "", () => made.close()));
  body.tabIndex = 0;
  made.append(bar, body);
  made.setAttribute("aria-label", "Question");
  made.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
  // A click beside the dialog is a click on the dialog itself, not on what is in it.
  made.addEventListener("click", (event) => { if (event.target === made) made.close(); });
  document.body.append(made);

  function go(step) {
    if (rows[place + step] === undefined) return;
    place += step;
    show();
  }

  async function show() {
    const at = rows[place];
    const asked = ++latest;
    back.disabled = place === 0;
    next.disabled = place === rows.length - 1;
    // A button that cannot be pressed any more would take the focus with it.
    if (document.activeElement === document.body) body.focus();
    title.textContent = `${names[datasets[at]]} / ${indices[at]}`;
    const number = Math.floor(at / chunk);
    if (!chunks.has(number)) chunks.set(number, unpack(`chunk-${number}`));
    const detail = (await chunks.get(number))[at % chunk];
    // A question that was left meanwhile does not come back.
    if (asked !== latest) return;
    body.replaceChildren(...parts(at, detail));
    body.scrollTop = 0;
  }

  function parts(at, detail) {
    const found = [];
    if (detail.text !== null) found.push(element("h3", "Question"), element("pre", detail.text));
    if (detail.reference !== null) found.push(element("h3", "Reference answer"), element("pre", detail.reference));
    if (solved || detail.coarse) {
      found.push(element("h3", `Models${detail.coarse ? `, and what the scores of ${explained} promised` : ""}`));
      found.push(modelTable(at, detail));
    }
    if (detail.near.length) found.push(element("h3", "Nearest questions of the bank"), nearTable(detail.near));
    if (detail.answers.length) found.push(element("h3", live ? "Answers, by method" : "Answers, by model"));
    detail.answers.forEach(([name, text], first) => found.push(answer(at, names[name], text, !first)));
    found.push(element("h3", "Methods"), methodTable(at));
    return found;
  }

  function answer(at, name, text, open) {
    const made = element("details");
    made.open = open;
    const top = element("summary", name);
    const grade = live ? null : gradeOf(at, name);
    if (grade) top.append(" ", grade);
    made.append(top, element("pre", text));
    return made;
  }

  function methodTable(at) {
    const lines = methods.map((method) => [method.name, outcome(method.score[at]), named(method.model[at]),
      named(method.mode[at]), amount(method.support[at]), dollars(method.cost[at])]);
    return tableOf(["method", "outcome", "answered by", "mode", "support", "$ per question"], lines, [4, 5]);
  }

  function modelTable(at, detail) {
    const order = models.map((_, model) => model);
    if (detail.coarse) order.sort((a, b) => (detail.coarse[b] ?? -1) - (detail.coarse[a] ?? -1));
    const header = ["model", "graded"];
    if (detail.coarse) header.push("promised by the question");
    if (detail.fine) header.push("by question and responses");
    const lines = order.map((model) => {
      const line = [models[model], gradeOf(at, models[model]) || "–"];
      if (detail.coarse) line.push(meter(detail.coarse[model]));
      if (detail.fine) line.push(meter(detail.fine[model]));
      return line;
    });
    return tableOf(header, lines, []);
  }

  function nearTable(near) {
    const filtered = near.some((line) => line[3] !== null);
    const header = ["similarity", "dataset", ...(filtered ? ["filter"] : []), "question"];
    const lines = near.map(([dataset, index, similarity, kept, text]) => [similarity.toFixed(3), names[dataset],
      ...(filtered ? [kept ? "kept" : "dropped"] : []), text === null ? index : text]);
    const made = tableOf(header, lines, [0]);
    made.classList.add("wrapped");
    return made;
  }

  function gradeOf(at, name) {
    const model = models.indexOf(name);
    if (!solved || model < 0) return null;
    return outcome(solved[model][at]);
  }

  function named(at) {
    return at < 0 ? "–" : names[at];
  }

  return {
    open(order, at) {
      rows = order;
      place = at;
      made.showModal();
      show();
      // Where the arrow keys are heard, and scroll.
      body.focus();
    },
  };
}

/** Say how an answer was graded; never by colour alone. */
function outcome(score) {
  if (score === null) return element("span", "no score", "quiet");
  if (score === 1) return element("span", "✓ right", "right");
  if (score === 0) return element("span", "✗ wrong", "wrong");
  return element("span", score.toFixed(2), score >= 0.5 ? "right" : "wrong");
}

function amount(value) {
  return value === null ? "–" : value.toLocaleString("en");
}

function dollars(value) {
  return value === null ? "–" : value === 0 ? "$0" : `$${value >= 0.01 ? value.toFixed(4) : value.toPrecision(3)}`;
}

function meter(share) {
  if (share === null) return "–";
  const made = element("span");
  const gauge = element("span", undefined, "meter");
  const filled = element("span");
  filled.style.width = `${100 * share}%`;
  gauge.append(filled);
  made.append(gauge, `${(100 * share).toFixed(1)} %`);
  return made;
}

function tableOf(header, lines, numbers) {
  const table = element("table");
  const head = element("thead");
  const top = element("tr");
  header.forEach((name, place) => top.append(element("th", name, numbers.includes(place) ? "number" : "")));
  head.append(top);
  const body = element("tbody");
  for (const line of lines) {
    const row = element("tr");
    line.forEach((cell, place) => {
      const made = element("td", undefined, numbers.includes(place) ? "number" : "");
      made.append(cell);
      row.append(made);
    });
    body.append(row);
  }
  table.append(head, body);
  const scroll = element("div", undefined, "scroll");
  scroll.append(table);
  return scroll;
}
