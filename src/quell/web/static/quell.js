// Keeps the page as the server has it: regions arrive as they change, forms answer without leaving the page.
(() => {
	const body = document.body, $ = (query, root = document) => [...root.querySelectorAll(query)];
	let source, seq = body.dataset.seq, by = body.dataset.by, wait = 500, timer;

	const key = (e) => e.form && [e.form.getAttribute("action"), e.name, e.type === "submit" ? e.value + e.formAction : ""].join();

	function replace(region, html) {
		const typed = new Map($("input:not([type=hidden])", region).map((e) => [key(e), e]));
		const open = new Set($("details[open]", region).map((e) => e.dataset.key));
		const focus = region.contains(document.activeElement) && document.activeElement;
		const spot = focus && (focus.form ? key(focus) : focus.closest("details")?.dataset.key || focus.getAttribute("href"));
		const [from, to] = focus && focus.form && focus.type !== "submit" ? [focus.selectionStart, focus.selectionEnd] : [];
		const y = scrollY;
		region.innerHTML = html;
		for (const e of $("input[name=csrf]", region)) e.value = body.dataset.token;
		for (const e of $("input:not([type=hidden])", region)) if (typed.has(key(e))) e.value = typed.get(key(e)).value;
		for (const e of $("input[name=by]", region)) e.value ||= by;
		for (const e of $("details", region)) e.open = open.has(e.dataset.key);
		const again = spot && $("input,button,a,summary", region).find(
			(e) => spot === (e.form ? key(e) : e.closest("details")?.dataset.key || e.getAttribute("href")));
		if (again) { again.focus({ preventScroll: true }); if (from != null) again.setSelectionRange(from, to); }
		scrollTo(scrollX, y);
	}

	function show(message) {
		seq = message.lastEventId; wait = 500;
		for (const [name, html] of Object.entries(JSON.parse(message.data))) {
			const region = document.getElementById(name);
			if (region) replace(region, html);
		}
		const status = $("main > [role=status]")[0], says = $("h1 .says")[0]?.innerText;
		if (status && says && status.textContent !== says) status.textContent = says;
		tick();
	}

	function close() { clearTimeout(timer); source?.close(); source = null; }
	function open() {
		if (source || document.hidden) return;
		source = new EventSource(`${body.dataset.live}?after=${seq}`);
		source.addEventListener("regions", show);
		source.onerror = () => {
			close();
			fetch("/api/v1/me").then((answer) => answer.status === 401 && location.reload(), () => {});
			timer = setTimeout(open, wait); wait = Math.min(wait * 2, 15000);
		};
	}

	const two = (n) => String(n).padStart(2, "0");
	const ago = (s) => s < 60 ? `${s} s` : s < 3600 ? `${s / 60 | 0} min` : s < 86400 ? `${s / 3600 | 0} h` : `${s / 86400 | 0} d`;
	function tick() {
		for (const e of $("time[data-ago],time[data-left]")) {
			const s = Math.max(0, Math.round((Date.now() - Date.parse(e.dateTime)) / 1000 * ("ago" in e.dataset || -1)));
			e.textContent = "ago" in e.dataset ? `${ago(s)} ago` : `${s / 60 | 0}:${two(s % 60)} left`;
		}
	}

	document.addEventListener("submit", async (event) => {
		if ("plain" in event.target.dataset) return;
		const form = event.target, button = event.submitter, told = $("[role=alert]", form)[0];
		event.preventDefault();
		if ($("[aria-busy]", form).length) return;
		button.setAttribute("aria-busy", "true");
		try {
			const answer = await fetch(button.getAttribute("formaction") || form.getAttribute("action"), { method: "POST", body: new URLSearchParams(new FormData(form, button)) });
			told.textContent = answer.ok ? "" : (await answer.json()).error;
		} catch { told.textContent = "The server does not answer. Try again."; }
		button.removeAttribute("aria-busy");
	});
	document.addEventListener("input", ({ target }) => {
		if (target.name === "by") for (const e of $("input[name=by]")) e.value = by = target.value;
	});
	document.addEventListener("invalid", ({ target }) => { $("[role=alert]", target.form)[0].textContent = target.title; }, true);
	document.addEventListener("visibilitychange", () => document.hidden ? close() : open());
	addEventListener("pagehide", close);
	addEventListener("pageshow", open);
	const seen = new IntersectionObserver(() => { for (const e of $("#plan details")) { e.open = true; seen.disconnect(); } });
	addEventListener("scroll", () => $("#plan").forEach((e) => seen.observe(e)), { once: true });
	setInterval(tick, 1000);
	open();
})();
