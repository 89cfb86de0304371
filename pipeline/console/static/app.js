// The page of a line: is notified of state, alerts and pictures as they come, and only while it is looked at.
const RATE_WINDOW_MS = 5000, PATIENCE_MS = 3000, AGAIN_MS = 1000, NO_STATE = "the line does not say its state", CAMERA_AWAY = "camera away";
const SIGNS = { OK: "✓ OK", NG: "✕ NG", NOT_INSPECTED: "! NOT INSPECTED", FAULT: "⚠ FAULT" };
const STAGES = ["queued", "engine", "stored", "total"];
const by_id = (id) => document.getElementById(id);
const state = { cameras: new Map(), history: [], items: [], rows: new Map(), chosen: -1, next: null, newest: null, open: null, at: 0, trouble: NO_STATE };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
function verdict_badge(verdict) { return make("span", `verdict ${verdict}`, SIGNS[verdict] ?? verdict); }
function show_verdict(element, verdict) { element.className = `verdict ${verdict}`; element.textContent = SIGNS[verdict] ?? verdict; }

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "x-f2p": "1" } };
  const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(8000) });
  if (answer.status === 401) { location.href = "/login"; throw new Error("token wanted"); }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error ?? `answer ${answer.status}`);
  return content;
}

function outlines(svg, defects, width, height) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...defects.map((defect) => {
    const polygon = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    polygon.setAttribute("points", defect.polygon_px.map((point) => point.join(",")).join(" "));
    return polygon;
  }));
}

// --- cameras -------------------------------------------------------------------------------------------------------
function camera_card(id) {
  if (state.cameras.has(id)) return state.cameras.get(id);
  const card = make("article"), title = make("h3"), view = make("div", "view"), counts = make("dl", "counts");
  card.id = `camera-${id}`;
  const image = make("img"), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  image.alt = `newest judged frame of ${id}`;
  const wait = make("p", "", "no picture yet"), sign = make("span", "verdict", "…"), ledger = make("p", "ledger");
  svg.setAttribute("preserveAspectRatio", "xMidYMid meet");
  title.append(make("span", "", id), sign);
  view.append(image, svg, wait);
  card.append(title, view, counts, ledger);
  by_id("cameras").append(card);
  by_id("filter").elements.camera.append(new Option(id));
  const kept = { card, image, svg, wait, sign, counts, ledger };
  state.cameras.set(id, kept);
  return kept;
}
const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);

function show_camera(id, now, away) {
  const kept = camera_card(id), late = sum(now.not_inspected), lost = sum(now.dropped);
  kept.counts.replaceChildren(...[["OK", now.ok], ["NG", now.ng], ["not inspected", late], ["dropped", lost]].map(([name, count]) => {
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd", "", count.toLocaleString()));
    return pair;
  }));
  kept.card.toggleAttribute("data-away", away);
  if (away) {  // its last picture must not look like the present one
    kept.card.dataset.verdict = "FAULT";
    kept.sign.className = "verdict FAULT";
    kept.sign.textContent = "⚠ CAMERA AWAY";
  } else if (kept.card.dataset.verdict === "FAULT") {
    delete kept.card.dataset.verdict;
    kept.sign.className = "verdict";
    kept.sign.textContent = "…";
  }
  const has_picture = kept.image.hasAttribute("src");
  kept.wait.hidden = has_picture && !away;
  kept.wait.textContent = !away ? "no picture yet" : has_picture ? "the last picture before the camera was lost" : "no picture: the camera is away";
  kept.ledger.classList.toggle("broken", !now.balanced);
  kept.ledger.textContent = ledger_line(now, away);
}
function ledger_line(now, away) {
  const captured = `${now.captured.toLocaleString()} captured`, reconnects = now.reconnects ? `, ${now.reconnects} reconnects` : "";
  if (!now.balanced) return `✕ LEDGER DOES NOT BALANCE: ${captured}, ${now.in_flight} in flight${reconnects}`;
  if (away) return `⚠ no frames come; ${now.captured ? `${captured} before` : "none captured yet"}${reconnects}`;
  if (!now.captured) return "no frame captured yet";
  return `✓ ledger balanced: ${captured}, ${now.in_flight} in flight${reconnects}`;
}

function show_picture(result) {
  const kept = camera_card(result.camera);
  if (kept.card.hasAttribute("data-away")) return;
  kept.image.src = `data:image/jpeg;base64,${result.jpeg}`;
  kept.wait.hidden = true;
  kept.card.dataset.frame = result.frame_id;
  kept.card.dataset.verdict = result.verdict;
  show_verdict(kept.sign, result.verdict);
  outlines(kept.svg, result.defects, ...result.size_px);
}

// --- the line ------------------------------------------------------------------------------------------------------
function rate(now) {
  const total = Object.values(now.cameras).reduce((sofar, camera) => sofar + camera.inspected, 0);
  state.history.push([now.at_ms, total]);
  while (state.history.length > 2 && now.at_ms - state.history[0][0] > RATE_WINDOW_MS) state.history.shift();
  const [then, before] = state.history[0];
  return now.at_ms > then ? Math.max(0, (total - before) * 1000 / (now.at_ms - then)) : 0;
}

function health(now) {
  const broken = Object.entries(now.cameras).filter(([, camera]) => !camera.balanced).map(([id]) => `${id}: ledger`);
  const away = cameras_away(now);
  const troubled = now.workers.filter((worker) => worker.state !== "running" && worker.detail !== CAMERA_AWAY).map((worker) => `${worker.name} ${worker.state}`);
  if (broken.length) return ["bad", `✕ ${first_of(broken)}`];
  if (away.length) return ["bad", `⚠ camera away: ${first_of(away)}`];
  if (troubled.length) return ["wait", `! ${first_of(troubled)}`];
  return ["good", "✓ running"];
}
const first_of = (names) => names.slice(0, 2).join(", ") + (names.length > 2 ? ` and ${names.length - 2} more` : "");
const cameras_away = (now) => now.workers.filter((worker) => worker.detail === CAMERA_AWAY).map((worker) => worker.name.replace(/^ingest-/, ""));

function show_state(now) {
  document.title = `${now.line} – f2p`;
  by_id("line").textContent = now.line;
  const [kind, words] = health(now);
  by_id("health").className = `lamp ${kind}`;
  by_id("health").textContent = words;
  const total = now.latency_ms.total ?? {}, figures = [
    ["inspected / s", rate(now).toFixed(1)], ["latency p99", total.p99 == null ? "–" : `${total.p99.toFixed(0)} ms`],
    ["alerts", (now.alerts.published ?? 0).toLocaleString()], ["in the spool", Math.max(0, (now.alerts.spooled ?? 0) - (now.alerts.replayed ?? 0)).toLocaleString()],
  ];
  by_id("rates").replaceChildren(...figures.map(([name, figure]) => {
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd", "", figure));
    return pair;
  }));
  const away = new Set(cameras_away(now));
  for (const [id, camera] of Object.entries(now.cameras)) show_camera(id, camera, away.has(id));
  const longest = Math.max(1, ...STAGES.map((stage) => now.latency_ms[stage]?.p99 ?? 0));
  by_id("latency").replaceChildren(...STAGES.filter((stage) => now.latency_ms[stage]?.p50 != null).map((stage) => {
    const row = make("div"), bar = make("i"), { p50, p99 } = now.latency_ms[stage];
    bar.style.setProperty("width", `${100 * p50 / longest}%`);
    row.append(make("span", "", stage), bar, make("b", "", `${p50.toFixed(1)} / ${p99.toFixed(1)} ms`));
    row.title = "p50 / p99";
    return row;
  }));
  by_id("table").replaceChildren(...now.workers.map((worker) => {
    const row = make("tr"), mood = make("td", "", worker.state);
    if (worker.detail) mood.append(make("small", "", worker.detail));
    row.dataset.worker = worker.name;
    row.append(make("td", "", worker.name), mood, make("td", "", worker.restarts));
    return row;
  }));
  if (!by_id("by").value) by_id("by").value = localStorage.getItem("f2p-reviewer") ?? now.reviewer;
}

// --- alerts --------------------------------------------------------------------------------------------------------
function query(before) {
  const form = by_id("filter").elements, words = new URLSearchParams();
  for (const name of ["camera", "verdict", "class"]) if (form[name].value) words.set(name, form[name].value);
  if (form.since.value) words.set("since_ms", new Date(form.since.value).getTime());
  if (form.until.value) words.set("until_ms", new Date(form.until.value).getTime());
  if (before) words.set("before", before);
  return words;
}
function gist(item) {
  const what = item.reason ?? (item.classes.length ? `${item.defects} × ${item.classes.join(", ")}` : "");
  return [item.camera_id, item.part_id, what, item.score != null ? `score ${item.score.toFixed(2)}` : ""].filter(Boolean).join(" · ");
}
// A row stays the same element for as long as its alert is listed: a click must not fall between two drawings.
function row_of(item) {
  const kept = state.rows.get(item.id), drawn = JSON.stringify(item);
  if (kept?.dataset.drawn === drawn) return kept;
  const row = kept ?? make("li"), time = make("time", "", new Date(item.captured_at_ns / 1e6).toLocaleTimeString([], { hour12: false }));
  if (!kept) {
    row.setAttribute("role", "option");
    row.addEventListener("click", () => { choose(state.items.findIndex((each) => each.id === item.id)); open_chosen(); });
    state.rows.set(item.id, row);
  }
  row.className = item.acknowledged ? "seen" : "";
  row.dataset.frame = item.frame_id;
  row.dataset.drawn = drawn;
  const marks = make("span"), sign = make("span");
  if (item.acknowledged) marks.append(make("span", "badge", "seen"));
  if (item.review) marks.append(make("span", "badge", item.review.word.replace("_", " ")));
  sign.append(verdict_badge(item.verdict));
  row.replaceChildren(time, sign, marks, make("span", "what", gist(item)));
  return row;
}
function show_list() {
  const list = by_id("list"), wanted = new Set(state.items.map((item) => item.id));
  for (const [id, row] of state.rows) if (!wanted.has(id)) { row.remove(); state.rows.delete(id); }
  state.items.forEach((item, place) => {
    const row = row_of(item);
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
    row.setAttribute("aria-selected", place === state.chosen);
  });
  by_id("older").hidden = state.next === null;
  say_if_empty(!filtered() ? "No alerts yet." : state.next === null ? "No alert matches this filter." : "No alert matches this filter so far: “older” looks further back.");
}
function say_if_empty(words) {
  by_id("empty").hidden = state.items.length > 0;
  by_id("empty").textContent = words;
}
function choose(place) {
  if (!state.items.length) return;
  state.chosen = Math.max(0, Math.min(state.items.length - 1, place));
  [...by_id("list").children].forEach((row, index) => row.setAttribute("aria-selected", index === state.chosen));
  by_id("list").children[state.chosen]?.scrollIntoView({ block: "nearest" });
}
const filtered = () => query().toString() !== "";
const read_alerts = async () => take_alerts(await ask(`/api/alerts?${query()}`));
function take_alerts(fresh) {
  const signature = JSON.stringify(fresh.items);
  if (signature === state.newest) return;
  state.newest = signature;
  const chosen = state.items[state.chosen]?.id, known = new Set(fresh.items.map((item) => item.id));
  const oldest = fresh.items.at(-1)?.id;
  const before = (id) => oldest !== undefined && order(id) < order(oldest);
  const kept = state.items.filter((item) => !known.has(item.id) && before(item.id));
  if (!kept.length) state.next = fresh.next;
  state.items = [...fresh.items, ...kept];
  state.chosen = state.items.findIndex((item) => item.id === chosen);
  show_list();
}
const order = (id) => { const [ms, number] = id.split("-"); return Number(ms) * 1000 + Number(number); };
async function read_older() {
  const page = await ask(`/api/alerts?${query(state.next ?? state.items.at(-1)?.id)}`);
  state.items.push(...page.items);
  state.next = page.next;
  show_list();
}

// --- one frame -----------------------------------------------------------------------------------------------------
async function open_chosen() {
  const item = state.items[state.chosen];
  if (!item) return;
  state.open = item;
  const image = by_id("evidence");
  if (item.is_frame) show_absence("looking for its picture …", false);
  else show_absence("no picture: this is an event, not a frame");
  by_id("frame").replaceChildren(verdict_badge(item.verdict), ` ${item.frame_id}`);
  by_id("why").textContent = item.reason ?? "";
  by_id("defects").replaceChildren();
  by_id("facts").replaceChildren();
  by_id("note").value = item.review?.note ?? "";
  show_words(item);
  if (!by_id("detail").open) by_id("detail").showModal();
  if (!item.is_frame) return;
  let facts;
  try {
    facts = await ask(`/api/frame?id=${encodeURIComponent(item.frame_id)}`);
  } catch (error) {
    if (state.open === item) show_absence(error.message);
    return;
  }
  if (state.open !== item) return;
  by_id("why").textContent = facts.explanation;
  const defects = facts.result?.defects ?? [];
  if (!facts.evidence) show_absence("no picture was kept of this frame");
  else {
    image.onload = () => { by_id("absent").hidden = true; outlines(by_id("outlines"), defects, image.naturalWidth, image.naturalHeight); };
    image.onerror = () => show_absence("its picture can't be read any more");
    image.alt = `picture of ${item.frame_id}`;
    image.src = `/evidence.jpg?id=${encodeURIComponent(item.frame_id)}`;
  }
  show_facts(facts, defects);
}
// Instead of a picture: a word, and no more room than it needs; `for_good` is false while the picture may still come.
function show_absence(words, for_good = true) {
  by_id("detail").classList.toggle("bare", for_good);
  const image = by_id("evidence");
  image.onload = image.onerror = null;
  image.removeAttribute("src");
  by_id("outlines").replaceChildren();
  by_id("absent").hidden = false;
  by_id("absent").textContent = words;
}
function show_facts(facts, defects) {
  const head = make("tr");
  head.append(...["class", "severity", "score", "area"].map((name) => make("th", "", name)));
  by_id("defects").replaceChildren(...(defects.length ? [head] : []), ...defects.slice(0, 12).map((defect) => {
    const row = make("tr"), area = defect.area_mm2 != null ? `${defect.area_mm2.toFixed(2)} mm²` : `${defect.area_px} px`;
    row.append(...[defect.class, defect.severity, defect.score.toFixed(2), area].map((text) => make("td", "", text)));
    return row;
  }));
  const times = Object.entries(facts.result?.timings_ms ?? {}).filter(([, ms]) => ms != null).map(([name, ms]) => `${name} ${ms.toFixed(1)}`);
  const rows = {
    part: facts.result?.part_id, captured: facts.result?.captured_at_ns ? new Date(facts.result.captured_at_ns / 1e6).toLocaleString() : null,
    "image score": facts.result?.score, "time, ms": times.join(", "), device: facts.result?.device, engine: facts.engine?.of_line,
    recipe: facts.recipe?.of_line, picture: facts.evidence ? "kept" : "not kept", alert: facts.alert_entry,
    ...Object.fromEntries(Object.entries(facts.groups ?? {}).map(([name, mood]) => [`group ${name}`, mood])),
  };
  by_id("facts").replaceChildren(...Object.entries(rows).filter(([, value]) => value != null && value !== "").flatMap(([name, value]) =>
    [make("dt", "", name), make("dd", "", value)]));
}
function show_words(item) {
  by_id("seen").classList.toggle("on", item.acknowledged);
  for (const button of document.querySelectorAll("[data-word]")) {
    button.classList.toggle("on", item.review?.word === button.dataset.word);
    button.disabled = !item.is_frame;
  }
  const review = item.review;
  by_id("said").textContent = review ? `${review.word.replace("_", " ")} by ${review.by}, ${new Date(review.at_ns / 1e6).toLocaleString()}` : "";
}
async function change(path, body) {
  const item = state.open;
  if (!item) return;
  const by = by_id("by").value;
  localStorage.setItem("f2p-reviewer", by);
  try {
    Object.assign(item, await ask(path, { frame_id: item.frame_id, by, ...body }));
    show_words(item);
    show_list();
  } catch (error) {
    by_id("said").textContent = `not stored: ${error.message}`;
  }
}
const acknowledge = () => change("/api/seen", {});
const review = (word) => state.open?.is_frame && change("/api/review", { word: state.open.review?.word === word ? "" : word, note: by_id("note").value });

// --- keys and buttons ----------------------------------------------------------------------------------------------
by_id("seen").addEventListener("click", acknowledge);
for (const button of document.querySelectorAll("[data-word]")) button.addEventListener("click", () => review(button.dataset.word));
by_id("detail").addEventListener("close", () => { state.open = null; by_id("list").focus(); });
by_id("older").addEventListener("click", () => read_older().catch(say_trouble));
by_id("filter").addEventListener("submit", (event) => event.preventDefault());
by_id("filter").addEventListener("input", () => { state.items = []; state.newest = null; state.chosen = -1; read_alerts().catch(say_trouble); });
function say_trouble(error) { by_id("empty").hidden = false; by_id("empty").textContent = `no answer: ${error.message}`; }
function turn_theme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("f2p-theme", document.documentElement.dataset.theme);
}
by_id("theme").addEventListener("click", turn_theme);
if (localStorage.getItem("f2p-theme")) document.documentElement.dataset.theme = localStorage.getItem("f2p-theme");
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = { a: acknowledge, c: () => review("confirmed"), f: () => review("false_reject"), m: () => review("missed") };
  if (state.open && keys[event.key]) { event.preventDefault(); keys[event.key](); return; }
  if (["ArrowDown", "j", "ArrowUp", "k"].includes(event.key)) {
    event.preventDefault();
    choose(state.chosen + (["ArrowDown", "j"].includes(event.key) ? 1 : -1));
    if (state.open) open_chosen();
    else by_id("list").focus({ preventScroll: true });
  } else if (event.key === "Enter" && !state.open && !event.target.closest("button, a")) {
    event.preventDefault();  // else the same key presses the dialog's button, which has the focus now
    open_chosen();
  } else if (event.key === "t") turn_theme();
});

// --- live ----------------------------------------------------------------------------------------------------------
let stream = null;
function listen() {
  stream?.close();
  if (document.hidden) return;
  stream = new EventSource("/api/live");
  const on = (name, take) => stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
  on("state", (now) => { state.at = Date.now(); state.trouble = NO_STATE; show_state(now); });
  on("alerts", (page) => filtered() ? read_alerts().catch(() => undefined) : take_alerts(page));
  on("picture", show_picture);
  on("trouble", (message) => { state.trouble = message.error; });
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED) setTimeout(come_again, AGAIN_MS); });
}
// The server refused: for want of a token `ask` leaves for the page that takes one.
async function come_again() {
  try { await ask("/api/state"); } catch (error) { state.trouble = error.message; }
  listen();
}
setInterval(() => {
  if (document.hidden || Date.now() - state.at <= PATIENCE_MS) return;
  by_id("health").className = "lamp bad";
  by_id("health").textContent = `✕ no answer: ${state.trouble}`;
}, AGAIN_MS);
document.addEventListener("visibilitychange", listen);
listen();
