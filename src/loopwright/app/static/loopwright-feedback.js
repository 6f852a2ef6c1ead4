/* Loopwright: what is done with [data-lw-decision] elements. Never sends text. */
(() => {
 const A = "data-lw-decision", seen = new Map(), doc = document, now = Date.now;
 let o, timer, queue = [];
 const id = () => crypto.randomUUID?.() ?? now() + "-" + Math.random();
 const of = n => n?.closest(`[${A}]`)?.getAttribute(A);

 function put(decision, kind, value = 1) {
  if (!o || !decision) return;
  const type = /^(thumbs|stars)$/.test(kind) ? "rating" : "signal";
  queue.push({type, kind, value, request_id: decision, session_id: o.session, event_id: id(), at_ms: now()});
  queue.length < o.batch ? later() : flush();
 }
 function later() {
  timer ??= setTimeout(flush, o.flushMs);
 }
 function flush() {
  timer = clearTimeout(timer);
  while (queue.length) send(queue.splice(0, o.batch));
 }
 function send(items) {
  const body = new Blob([JSON.stringify({items})], {type: "application/json"}), half = items.length >> 1;
  let keepalive = body.size < 6e4; // may outlive a page
  if (!keepalive && half) return send(items.slice(0, half)), send(items.slice(half));
  if (!o.key && (keepalive = navigator.sendBeacon(o.url, body))) return;
  const again = () => { // harmless: the server knows each event_id
   queue = items.concat(queue).slice(-500);
   later();
  };
  const headers = o.key ? {authorization: "Bearer " + o.key} : {};
  fetch(o.url, {method: "POST", body, headers, keepalive})
   .then(r => (r.status > 499 || r.status == 429) && again(), again);
 }

 function track(d, kind, value) {
  const s = seen.get(d);
  if (s && !s.acted) put(d, "first_action", now() - s.shown), s.acted = 1;
  put(d, kind, value);
 }
 function pause(s) {
  if (s.since) s.ms += now() - s.since;
  s.since = 0;
 }
 const eye = new IntersectionObserver(list => list.forEach(e => {
  const d = of(e.target), on = e.isIntersecting;
  let s = seen.get(d);
  if (on && !s) {
   seen.set(d, s = {shown: now(), ms: 0, told: 0});
   put(d, "shown");
  }
  if (s) pause(s), s.since = on && now();
 }));
 const watch = () => doc.querySelectorAll(`[${A}]`).forEach(n => eye.observe(n));

 function hide({type}) {
  seen.forEach((s, d) => {
   pause(s);
   if (s.ms > s.told) put(d, "dwell", s.told = s.ms);
   if (type == "pagehide" && !s.acted) put(d, "abandonment"), s.acted = 1;
  });
  flush();
 }

 window.loopwright = {track, flush, init(options) {
  if (o) return;
  o = {url: "/api/v1/feedback", session: id(), batch: 20, flushMs: 5e3, ...options};
  watch();
  new MutationObserver(watch).observe(doc, {subtree: true, childList: true, attributeFilter: [A]});
  addEventListener("click", ({target}) => {
   const b = target.closest("[data-lw-action]"), {lwAction, lwValue = 1} = b?.dataset ?? {};
   if (lwAction) track(of(b), lwAction, +lwValue);
  }, true);
  addEventListener("copy", () => track(of(getSelection().anchorNode?.parentElement), "copy"));
  addEventListener("pagehide", hide);
  addEventListener("visibilitychange", e => {
   if (doc.hidden) return hide(e);
   eye.disconnect(); // observed again, it tells what is in view
   watch();
  });
 }};
})();
