"""Charts as inline SVG: numbers in, markup out; a file for each kind.

Every chart is an image with a title and a description; the page puts the numbers in a table
beside it. Colours and fonts come from classes, so that the page's light and dark themes hold.
Widths are those of a phone: text stays legible where charts shrink.
"""
