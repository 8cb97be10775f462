// Runs before anything is drawn, so that a remembered theme never flashes up late.
(() => {
  try {
    const theme = localStorage.getItem("hivemind-chat:theme");
    if (theme) document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is switched off: the device's own theme holds.
  }
})();
