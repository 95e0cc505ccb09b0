// The page: server-sent events in, text nodes out. Every string here may be an attacker's, so none
// of them ever becomes markup, a style or an address: `element` and `svg` set text and classes only.
"use strict";

const ROWS = 200;
const AGAIN_MS = 5000;
const $ = (id) => document.getElementById(id);

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  // `append` makes text nodes of strings.
  made.append(...children.map((one) => (one instanceof Node ? one : String(one))));
  return made;
}

const many = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;
const count = (n) => (typeof n === "number" ? n.toLocaleString("en") : "");
const rate = (n) => (typeof n === "number" ? n.toLocaleString("en", { maximumFractionDigits: n < 10 ? 1 : 0 }) : "0");
const address = (end) => (end.ip ? (end.port ? (end.ip.includes(":") ? `[${end.ip}]:${end.port}` : `${end.ip}:${end.port}`) : end.ip) : "?");

function size(bytes) {
  if (typeof bytes !== "number") return "";
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (bytes < 1024 || unit === "GiB") return `${rate(bytes)} ${unit}`;
    bytes /= 1024;
  }
}

function time(text) {
  const at = new Date((text || "").replace(/([+-]\d\d)(\d\d)$/, "$1:$2"));
  return isNaN(at) ? text || "" : at.toLocaleTimeString("en-GB");
}

// --- Alerts ------------------------------------------------------------------------------------

function row(alert) {
  const notes = [alert.attacker.name, alert.attacker.country, alert.attacker.owner].filter(Boolean).join(", ");
  const under = (text) => (text ? [element("span", "", text)] : []);
  return element(
    "tr", "",
    element("td", "time", time(alert.at)),
    element("td", `severity${alert.severity === 1 || alert.severity === 2 ? alert.severity : ""}`, alert.severity ?? ""),
    element("td", "", address(alert.attacker), ...under(notes)),
    element("td", "", alert.decoy.name || address(alert.decoy), ...under(alert.decoy.name && address(alert.decoy))),
    element("td", "", alert.signature || "", ...under(alert.category)),
    element("td", "", [alert.app, alert.proto].filter(Boolean).join(" / ")),
    element("td", "", alert.confidence || "", ...under(alert.via && `via ${alert.via}`)),
  );
}

function showAlerts(alerts) {
  const body = $("alerts").tBodies[0];
  body.prepend(...alerts.map(row).reverse());
  while (body.rows.length > ROWS) body.lastElementChild.remove();
}

let missed = 0;
let passed = 0;
function showMissed() {
  const words = [];
  if (passed) words.push(`${count(passed)} came too fast to be shown`);
  if (missed) words.push(`this browser was too slow for ${count(missed)}`);
  $("missed").textContent = words.join("; ");
}

// --- Map ---------------------------------------------------------------------------------------

const BOX = { width: 170, height: 44, gap: 10, pad: 12, title: 22, columns: 4 };

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function showMap(map) {
  const shapes = [];
  const at = new Map();
  const left = map.attackers.length ? 260 : 0;
  let y = 0;
  let right = left;
  for (const frame of map.frames) {
    const columns = Math.max(1, Math.min(BOX.columns, frame.decoys.length));
    const rows = Math.max(1, Math.ceil(frame.decoys.length / columns));
    const width = Math.max(columns * (BOX.width + BOX.gap) - BOX.gap, 120) + 2 * BOX.pad;
    const height = BOX.title + rows * (BOX.height + BOX.gap) - BOX.gap + 2 * BOX.pad;
    shapes.push(svg("rect", { class: "frame", x: left, y, width, height, rx: 8 }));
    shapes.push(svg("text", { class: "faint", x: left + BOX.pad, y: y + 18 }, cut(frame.name, 40)));
    frame.decoys.forEach((decoy, index) => {
      const x = left + BOX.pad + (index % columns) * (BOX.width + BOX.gap);
      const top = y + BOX.title + BOX.pad + Math.floor(index / columns) * (BOX.height + BOX.gap);
      const state = decoy.alerts ? "alerted" : decoy.connections ? "touched" : "";
      const counts = [];
      if (decoy.alerts) counts.push(many(decoy.alerts, "alert"));
      if (decoy.connections) counts.push(many(decoy.connections, "connection"));
      at.set(decoy.id, { x, y: top + BOX.height / 2 });
      const box = svg("g", {});
      box.append(
        svg("title", {}, [decoy.name, ...decoy.addresses, decoy.last && `last ${decoy.last}`].filter(Boolean).join("\n")),
        svg("rect", { class: `decoy ${state}`, x, y: top, width: BOX.width, height: BOX.height, rx: 5 }),
        svg("text", { x: x + 8, y: top + 18 }, cut(decoy.name, 24)),
        svg("text", { class: "faint", x: x + 8, y: top + 34 }, cut(counts.join(", ") || decoy.addresses.join(" "), 30)),
      );
      shapes.push(box);
    });
    right = Math.max(right, left + width);
    y += height + BOX.gap;
  }
  const lines = [];
  map.attackers.forEach((attacker, index) => {
    const top = index * (28 + BOX.gap);
    shapes.push(svg("rect", { class: "attacker", x: 1, y: top + 1, width: 158, height: 28, rx: 14 }));
    shapes.push(svg("text", { x: 12, y: top + 20 }, cut(attacker.ip, 22)));
    y = Math.max(y, top + 40);
    for (const id of attacker.decoys) {
      const end = at.get(id);
      if (end) lines.push(svg("path", { d: `M 160 ${top + 15} C ${left - 40} ${top + 15}, ${end.x - 60} ${end.y}, ${end.x} ${end.y}` }));
    }
  });
  const drawing = svg("svg", { role: "img", "aria-label": "decoys touched", width: right + 2, height: y, viewBox: `0 0 ${right + 2} ${y}` });
  drawing.append(...lines, ...shapes);
  $("map").replaceChildren(drawing);
  $("since").textContent = map.since ? `since ${time(map.since)}, while somebody looked` : "";
  const beyond = [];
  if (map.undrawn) beyond.push(`${count(map.undrawn)} more decoys are not drawn.`);
  if (map.others) beyond.push(`${count(map.others)} touches of addresses that are not drawn.`);
  $("beyond").textContent = beyond.join(" ");
}

// --- Figures -----------------------------------------------------------------------------------

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : minutes < 1440 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
}

const fill = (id, rows) => $(id).tBodies[0].replaceChildren(...rows);

function showFigures(told) {
  const { service, rates } = told;
  $("service").textContent = [service.version, service.state, service.from, `Suricata ${told.suricata || "unknown"}`, `up ${duration(service.uptime || 0)}`].filter(Boolean).join(" · ");
  const tile = (value, about) => element("div", "", element("b", "", value), element("span", "", about));
  $("tiles").replaceChildren(
    tile(rate(rates.packets_in), "packets a second"),
    tile(`${rate((rates.bytes_in || 0) * 8 / 1e6)}`, "Mbit a second"),
    tile(rate(rates.connections), "connections a second"),
    tile(rate(rates.events), "events a second"),
    tile(rate(rates.packets_dropped), "packets dropped a second"),
    tile(typeof told.lag === "number" ? `${rate(told.lag)} s` : "–", "events late"),
    tile(count(told.tracked) || "0", "connections tracked"),
  );
  $("warnings").replaceChildren(...told.warnings.map((one) => element("li", "", one)));
  fill("drops", told.drops.length ? told.drops.map((one) => element("tr", "", element("td", "number", one.n), element("td", "", one.why))) : [element("tr", "", element("td", "", "none"))]);
  fill("connections", told.connections.map((one) => element("tr", "", element("td", "number", one.n), element("td", "", one.what))));
  fill("sinks", told.sinks.map((sink) => element(
    "tr", "",
    element("td", "", sink.name), element("td", "", count(sink.lines)), element("td", "", size(sink.backlog)),
    element("td", "", count(sink.dropped)), element("td", "", count(sink.rejected)), element("td", "bad", sink.trouble || ""),
  )));
  passed = told.passed;
  showMissed();
}

// --- The stream --------------------------------------------------------------------------------

function link(words) {
  $("link").textContent = words;
}

async function begin() {
  const source = new EventSource("/events");
  const on = (name, show) => source.addEventListener(name, (event) => show(JSON.parse(event.data)));
  source.onopen = () => {
    link("");
    // The first of a new stream brings the last alerts again.
    $("alerts").tBodies[0].replaceChildren();
  };
  on("alerts", showAlerts);
  on("missed", (n) => { missed += n; showMissed(); });
  on("map", showMap);
  on("figures", showFigures);
  source.onerror = async () => {
    link("no connection; trying again");
    // A refusal is final for the browser; why it was one, it does not tell.
    if (source.readyState !== EventSource.CLOSED) return;
    try {
      const answer = await fetch("/", { redirect: "manual" });
      if (answer.type === "opaqueredirect") return location.assign("/login");
      link("too many are looking already; trying again");
    } catch { /* It is gone; it may come back. */ }
    setTimeout(begin, AGAIN_MS);
  };
}

begin();
