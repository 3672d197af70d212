// Follows what is not finished: the server tells when the page would look otherwise, and its live
// parts are taken from a new one. Without this, or a connection, the page is loaded again by hand.
export const follow = (renewed) => {
  const main = document.querySelector("main");
  let source = null;

  const listen = () => {
    if (source || document.hidden || !main.dataset.follow) return;
    source = new EventSource(main.dataset.follow);
    source.addEventListener("open", () => note(true));
    source.addEventListener("error", () => note(false));
    source.addEventListener("message", (event) => {
      if (event.data !== main.dataset.mark) renew();
    });
  };
  const stop = () => {
    source?.close();
    source = null;
  };
  const note = (connected) => {
    for (const each of document.querySelectorAll("[data-followed]")) {
      each.textContent = connected ? each.dataset.followed : each.dataset.alone;
    }
  };

  const renew = async () => {
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok || answer.redirected) return stop();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    document.title = page.title;
    for (const part of main.querySelectorAll("[data-live]")) {
      const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      if (other && other.innerHTML !== part.innerHTML) replace(part, other);
    }
    main.dataset.mark = fresh.dataset.mark ?? "";
    if (fresh.dataset.follow) return note(true);
    delete main.dataset.follow;
    stop();
  };

  // The keyboard stays where it was, as far as that is still there.
  const replace = (part, other) => {
    const place = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...other.childNodes);
    renewed(part);
    if (place) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === place)?.focus();
  };

  // A browser has few connections to a host: pages that nobody looks at leave theirs to others.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  listen();
  count(main);
};

// The seconds of what runs go on.
const count = (main) => {
  setInterval(() => {
    for (const each of main.querySelectorAll("[data-running]")) {
      each.dataset.since ??= performance.now();
      const seconds = Number(each.dataset.running) + (performance.now() - Number(each.dataset.since)) / 1000;
      each.textContent = seconds < 60 ? `${Math.floor(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
    }
  }, 1000);
};
