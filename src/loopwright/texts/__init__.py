"""Pure text: redact personal data, classify comments, measure distance."""
