// A fault in a script is shown at the head of the page instead of hiding in the console.
window.addEventListener("error", (event) => {
  document.documentElement.dataset.error = event.message;
});
