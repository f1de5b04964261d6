// What the pages do beyond htmx: careful refresh, dialogs, selection, copying, theme, keys. Everything here is
// an extra; without it links and forms do the same.
(() => {
  "use strict";
  const $ = (selector) => document.querySelector(selector);
  const store = {
    get(name) { try { return localStorage.getItem(`fastapi-events-${name}`); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(`fastapi-events-${name}`, value); } catch { /* not remembered then */ } },
  };

  // Refresh: never under the hands of somebody who selects, reads a dialog, types, or looks elsewhere.
  let paused = false;
  let tags = new WeakMap();
  const busy = (live) => {
    const selection = document.getSelection();
    const focus = document.activeElement;
    return paused || document.hidden || $("dialog[open]") !== null
      || live.querySelector("input[type=checkbox]:checked") !== null
      || (selection && !selection.isCollapsed && live.contains(selection.anchorNode))
      || (focus && live.contains(focus) && focus.matches("input:not([type=checkbox]), textarea"));
  };
  const isPoll = (event) => event.detail.ctx?.sourceElement?.matches?.("[data-poll]");
  document.addEventListener("htmx:before:request", (event) => {
    if (!isPoll(event)) return;
    const { sourceElement, request } = event.detail.ctx;
    if (busy(sourceElement)) event.preventDefault();
    const tag = tags.get(sourceElement);
    if (tag) request.headers["If-None-Match"] = tag;
  });
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (isPoll(event)) {
      const tag = ctx.response.headers.get("ETag");
      if (tag) tags.set(ctx.sourceElement, tag);
      if (ctx.response.status < 400 && $("#notice [data-poll-failed]")) $("#notice").replaceChildren();
    } else {
      tags = new WeakMap();
      $("#notice").replaceChildren();
    }
    if (ctx.request.method === "POST") closeDialogs();
  });
  document.addEventListener("htmx:error", (event) => {
    if (!isPoll(event)) return;
    const box = document.createElement("div");
    box.className = "notice error";
    box.dataset.pollFailed = "";
    box.textContent = "The server cannot be reached; trying again.";
    $("#notice").replaceChildren(box);
  });

  // Dialogs: htmx fills #dialog with the confirmation, which is a page of its own without scripts.
  function closeDialogs() { document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close()); }
  document.addEventListener("htmx:after:swap", (event) => {
    const dialog = $("#dialog");
    if (event.detail.ctx?.target === dialog && dialog.childElementCount && !dialog.open) {
      dialog.showModal();
      dialog.querySelector("[autofocus]")?.focus();
    }
    countSelected();
  });

  // Selection
  const picks = () => [...document.querySelectorAll("td.pick input")];
  function countSelected() {
    const label = $("[data-selected]"), all = $("[data-select-all]");
    if (!label || !all) return;
    const boxes = picks(), number = boxes.filter((box) => box.checked).length;
    label.textContent = number ? `${number} selected` : "Select all on this page";
    all.checked = number > 0 && number === boxes.length;
    all.indeterminate = number > 0 && number < boxes.length;
  }
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-select-all]")) picks().forEach((box) => { box.checked = event.target.checked; });
    if (event.target.matches("[data-select-all], td.pick input")) countSelected();
    if (event.target.matches("[data-keys-off]")) store.set("keys", event.target.checked ? "off" : "on");
  });

  // Theme
  const themes = ["auto", "light", "dark"];
  function showTheme() {
    const name = document.documentElement.dataset.theme ?? "auto";
    document.querySelectorAll("[data-theme-name]").forEach((label) => { label.textContent = name; });
  }
  function nextTheme() {
    const root = document.documentElement;
    const next = themes[(themes.indexOf(root.dataset.theme ?? "auto") + 1) % themes.length];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    store.set("theme", next);
    showTheme();
  }

  function setPaused(value) {
    paused = value;
    document.querySelectorAll("[data-pause]").forEach((button) => {
      button.setAttribute("aria-pressed", String(value));
      button.textContent = value ? "Paused" : "Live";
    });
  }
  function help() {
    const box = $("[data-keys-off]");
    if (box) box.checked = store.get("keys") === "off";
    $("#help").showModal();
  }
  async function copy(element) {
    try {
      await navigator.clipboard.writeText(element.dataset.copy);
    } catch {
      document.getSelection().selectAllChildren(element);
      return;
    }
    element.classList.add("copied");
    setTimeout(() => element.classList.remove("copied"), 1200);
  }
  document.addEventListener("click", (event) => {
    const target = event.target.closest?.("[data-copy], [data-theme-switch], [data-help], [data-close], [data-pause]");
    if (!target) return;
    if (target.matches("[data-copy]")) copy(target);
    if (target.matches("[data-theme-switch]")) nextTheme();
    if (target.matches("[data-help]")) help();
    if (target.matches("[data-pause]")) setPaused(!paused);
    if (target.matches("[data-close]") && target.closest("dialog")) { event.preventDefault(); closeDialogs(); }
  });

  // Keys; off while typing, and for whoever switches them off.
  let going = 0;
  const rows = () => [...document.querySelectorAll("main a.row")];
  function step(by) {
    const all = rows(), here = all.indexOf(document.activeElement);
    all[Math.min(Math.max(here + by, 0), all.length - 1)]?.focus();
  }
  const current = () => (rows().includes(document.activeElement) ? document.activeElement : null);
  const keys = {
    "/": () => $("#filter")?.focus(),
    "?": help,
    j: () => step(1),
    k: () => step(-1),
    o: () => current()?.click(),
    p: () => setPaused(!paused),
    t: nextTheme,
    g: () => { going = Date.now(); },
    x: () => {
      const box = current()?.closest("tr")?.querySelector("td.pick input");
      if (box) { box.checked = !box.checked; countSelected(); }
    },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || store.get("keys") === "off") return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select") || $("dialog[open]")) return;
    const room = Date.now() - going < 1500 ? $(`nav a[data-key="${CSS.escape(event.key)}"]`) : null;
    going = 0;
    if (room) { event.preventDefault(); room.click(); return; }
    if (Object.hasOwn(keys, event.key)) { event.preventDefault(); keys[event.key](); }
  });

  showTheme();
  countSelected();
})();
