"""Attribution: which training rows a generated text or image owes most to."""
