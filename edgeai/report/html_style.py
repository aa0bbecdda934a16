"""The look of the report: two palettes and one style sheet, nothing from outside.

Colours of series are Paul Tol's "bright" scheme, darkened or lightened until they stand out from the page by 3 to 1;
text stands out by at least 4.5 to 1 (WCAG 2.2, contrast).
"""

from __future__ import annotations

from types import MappingProxyType

LIGHT = MappingProxyType({
    "page": "#ffffff", "panel": "#f5f6f7", "ink": "#1b1f23", "soft": "#57606a", "line": "#d5dade",
    "accent": "#1a5c9e", "good": "#1a6b3c", "bad": "#a8201a", "warn": "#805200",
    "c1": "#3d6f9e", "c2": "#c9485a", "c3": "#22803a", "c4": "#8f7d14", "c5": "#1f83a6", "c6": "#992e6c",
    "c0": "#868e96",
})  # fmt: skip
DARK = MappingProxyType({
    "page": "#15181b", "panel": "#1e2226", "ink": "#e6e9ec", "soft": "#a5afb8", "line": "#373e45",
    "accent": "#82b5ea", "good": "#74c996", "bad": "#ff938a", "warn": "#e3b65a",
    "c1": "#6aa1d4", "c2": "#f0808d", "c3": "#56b46d", "c4": "#cfbd57", "c5": "#6ccbe8", "c6": "#cf72a6",
    "c0": "#7d868e",
})  # fmt: skip

SERIES = ("c1", "c2", "c3", "c4", "c5", "c6")
REST = "c0"


def _variables(palette: MappingProxyType[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in palette.items())


_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--page);color:var(--ink);
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.wrap{max-width:66rem;margin:0 auto;padding:0 1.25rem}
a{color:var(--accent);text-underline-offset:.15em}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:1rem;background:var(--page);padding:.5rem 1rem;z-index:2}
header{padding:2.5rem 0 1rem}
h1{font-size:1.75rem;line-height:1.2;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere;font-weight:650}
h2{font-size:1.25rem;line-height:1.3;margin:0 0 .75rem;font-weight:650}
h3{font-size:1rem;margin:1.75rem 0 .5rem;font-weight:650}
.lead{color:var(--soft);margin:.4rem 0 0;overflow-wrap:anywhere}
.verdict{border-left:.3rem solid var(--tone);background:var(--panel);padding:1rem 1.25rem;margin:1.5rem 0;
border-radius:0 .4rem .4rem 0}
.verdict p{margin:0}
.verdict p+p,.verdict ul{margin-top:.35rem}
.verdict ul{margin-bottom:0;padding-left:1.1rem}
.verdict strong{color:var(--tone);font-size:1.125rem}
.good{--tone:var(--good)}.bad{--tone:var(--bad)}.warn{--tone:var(--warn)}
.mark{font-weight:600;color:var(--tone)}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;padding:0;margin:0 0 1rem;font-size:.9375rem}
nav a{display:inline-block;padding:.25rem 0}
section{padding:1.75rem 0;border-top:1px solid var(--line)}
p,li{max-width:46rem}
.note,.origin{color:var(--soft);font-size:.875rem}
.key{display:grid;grid-template-columns:repeat(auto-fit,minmax(11.5rem,1fr));gap:1px;margin:0;background:var(--line);
border:1px solid var(--line);border-radius:.4rem;overflow:hidden}
.key div{background:var(--page);padding:.9rem 1rem}
.key dt{color:var(--soft);font-size:.875rem}
.key dd{margin:0}
.key .big{display:block;font-size:1.5rem;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.key small{color:var(--soft);font-size:.8125rem;display:block;line-height:1.4}
.facts{margin:0;display:grid;gap:.3rem}
.facts div{display:grid;grid-template-columns:minmax(8rem,12rem) 1fr;gap:.25rem 1rem}
.facts dt{color:var(--soft)}
.facts dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:.75rem 0 1rem}
table{border-collapse:collapse;width:100%;font-size:.9375rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);font-size:.875rem;padding:0 0 .4rem}
th,td{text-align:left;padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top}
thead th{font-weight:600;border-bottom-color:var(--soft);white-space:nowrap}
tbody th{font-weight:500}
td:last-child,th:last-child{padding-right:0}
.num{text-align:right;white-space:nowrap}
.marked th,.marked td{background:var(--panel)}
details{margin:.75rem 0}
summary{cursor:pointer;color:var(--accent);padding:.2rem 0;width:fit-content}
pre,code{font:.875rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
td code{font-size:.8125rem}
pre{background:var(--panel);padding:.9rem 1rem;border-radius:.4rem;margin:.75rem 0;white-space:pre-wrap;
overflow-wrap:anywhere}
figure{margin:1rem 0}
figcaption{color:var(--soft);font-size:.875rem;margin-top:.3rem;max-width:46rem}
.examples{display:grid;grid-template-columns:repeat(3,minmax(0,max-content));gap:.6rem;margin:.75rem 0 .25rem}
.examples figure{margin:0}
.examples img{display:block;max-width:100%;max-height:20rem;border-radius:.25rem}
.swatch{display:inline-block;width:.75em;height:.75em;border-radius:.15em;margin-right:.4em;background:var(--fill)}
.legend{list-style:none;padding:0;margin:.4rem 0;display:flex;flex-wrap:wrap;gap:.2rem 1.25rem;font-size:.875rem;
color:var(--soft)}
.chart svg{display:block;width:100%;min-width:42rem;height:auto}
.chart.small svg{min-width:21rem;max-width:30rem}
svg text{fill:var(--ink);font:12px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
svg .area{stroke:var(--page);stroke-width:.5}
svg .soft{fill:var(--soft)}
svg .grid{stroke:var(--line)}
svg .axis{stroke:var(--soft)}
svg .limit{stroke:var(--bad);stroke-dasharray:5 4}
svg .mark{stroke:var(--ink)}
footer{border-top:1px solid var(--line);padding:1.25rem 0 2.5rem;color:var(--soft);font-size:.875rem}
@media (max-width:40rem){
header{padding-top:1.5rem}h1{font-size:1.4rem}
.facts div{grid-template-columns:1fr;gap:0}
.facts dd{margin-bottom:.4rem}
.examples{grid-template-columns:repeat(2,minmax(0,max-content))}.examples figure:last-child{grid-column:1/-1}
}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
@page{margin:16mm 14mm}
@media print{
nav,.skip{display:none}
body{font-size:9.5pt}
.wrap{max-width:none;padding:0}
header{padding-top:0}
section{padding:1rem 0;break-inside:auto}
h2,h3,h3+p,caption{break-after:avoid}
figure,tr,.verdict,.key,.examples,.chart{break-inside:avoid}
.scroll{overflow:visible}
.chart svg,.chart.small svg{min-width:0}
table{font-size:8pt}thead th{white-space:normal}
details:not([open])>summary{color:var(--soft)}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""

# paper is white whatever the screen is
STYLE = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
    f"{''.join(f'.{name}{{--fill:var(--{name});fill:var(--{name});stroke:var(--{name})}}' for name in (*SERIES, REST))}"
    f"{_RULES}"
)
