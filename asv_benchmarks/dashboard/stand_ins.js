/* Stand-ins for three small scripts that asv's pages load from the network and that no Python package brings. */
"use strict";

/* Tables that are sorted by a click on a heading (for stupidtable). A heading says by data-sort how its column is compared, a cell
   may have a data-sort-value beside its text. asv listens for "aftertablesort". */
(function ($) {
    const compare = {
        string: (a, b) => a.localeCompare(b),
        float: (a, b) => parseFloat(a) - parseFloat(b),
    };
    const value = (row, column) => {
        const cell = $(row).children().eq(column);
        const given = cell.data("sort-value");
        return String(given === undefined ? cell.text() : given);
    };

    $.fn.stupidtable = function (more) {
        return this.each(function () {
            $(this).data("compare", Object.assign({}, compare, more));
            $(this).on("click", "thead th[data-sort]", function () {
                $(this).stupidsort();
            });
        });
    };

    $.fn.stupidsort = function (wanted) {
        const heading = this, table = heading.closest("table"), column = heading.index();
        const compared = (table.data("compare") || {})[heading.data("sort")];
        if (!compared) {
            return heading;
        }
        const direction = wanted || (heading.data("sort-dir") === "asc" ? "desc" : "asc");
        const sign = direction === "asc" ? 1 : -1;
        const body = table.children("tbody"), rows = body.children("tr").get();
        rows.sort((a, b) => sign * compared(value(a, column), value(b, column)));
        body.append(rows);
        table.find("thead th").removeData("sort-dir");
        heading.data("sort-dir", direction);
        table.trigger("aftertablesort", { column: column, direction: direction });
        return heading;
    };

    /* Bars of several series side by side, not over each other (for flot-orderbars). */
    $.plot.plugins.push({
        name: "order bars",
        init: (plot) => plot.hooks.processDatapoints.push((_, series, datapoints) => {
            const ordered = (other) => other.bars.show && other.bars.order !== undefined;
            if (ordered(series)) {
                const all = plot.getData().filter(ordered);
                const shift = (all.indexOf(series) - (all.length - 1) / 2) * series.bars.barWidth;
                for (let i = 0; i < datapoints.points.length; i += datapoints.pointsize) {
                    datapoints.points[i] += shift;
                }
            }
        }),
    });
})(jQuery);

/* A short name for a long text (for md5): asv remembers by it which regressions a reader has hidden, so any hash serves. This one is
   FNV-1a: G. Fowler, L. C. Noll and K.-P. Vo, 1991. */
function md5(text) {
    let hash = 0xcbf29ce484222325n;
    for (const byte of new TextEncoder().encode(text)) {
        hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
    }
    return hash.toString(16);
}
