"""The page of measured rows: one HTML file with a table that sorts and filters, and interactive plots."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from ..errors import ConfigError
from ..zoo.families import FAMILIES
from .rows import GROWTH, baselines, fronts, growth, ran, ratios, summary
from .tables import TITLES, case_title

try:
    from bokeh import models, plotting
    from bokeh.document import Document
    from bokeh.embed import file_html
    from bokeh.resources import INLINE
except ImportError:
    models = None

TITLE = 'Measured latency'

_FILTERS = {
    **{name: name for name in ('scope', 'backend', 'mode', 'precision', 'input', 'threads')},
    **{'device_name': 'device', 'family': 'family'},
}
"""Fields with a control each, if rows differ in them, and its title."""

_QUANTITIES = {'p50_ms': 'latency, ms (median)', 'memory_mib': 'peak memory, MiB'}

_TICKS = [mantissa * 10.0**power for power in range(-3, 10) for mantissa in (1, 2, 5)]
"""The ticks of logarithmic axes."""

_MANY_POINTS, _MANY_LINES = 40, 12
"""More than these are shown without their names, which would cover each other."""

_GROWS = (('Latency', 'p50_ms'), ('Memory', 'memory_mib'))

_LABEL = dict(text_font_size='11px', text_color='#333333')

_FLAG = (
    '<span style="color: <%- /^FAILED/.test(value) ? "#a40000" : value === "OK" ? "#1a1a1a" : "#8a5a00" %>" '
    'title="<%- value %>"><%- value %></span>'
)
"""The cell of a status."""

_COLOURS = (
    '#c8553d',
    '#28587b',
    '#5a8a3c',
    '#8a5a9e',
    '#b8860b',
    '#3a9d9d',
    '#a0405c',
    '#5c5c5c',
    '#7a6a4f',
    '#4a6fdc',
)

_MARKERS = {
    **{'circle': '●', 'square': '■', 'triangle': '▲', 'diamond': '◆', 'inverted_triangle': '▼', 'star': '★'},
    **{'hex': '⬢', 'plus': '✚'},
}

_COLUMNS = (
    *(('network', 'network', None), ('flag', 'status', None), ('backend', 'backend', None), ('mode', 'mode', None)),
    *(('precision', 'precision', None), ('input', 'input', None), ('threads', 'threads', None)),
    *(('p50_ms', 'p50 ms', '0.00'), ('p90_ms', 'p90 ms', '0.00'), ('p99_ms', 'p99 ms', '0.00')),
    *(('mean_ms', 'mean ms', '0.00'), ('std_ms', 'std ms', '0.00'), ('over', 'over the baseline', '0.000')),
    *(('images_per_second', 'images/s', '0.0'), ('share', 'of the limit, %', '0.0')),
    *(('memory_mib', 'peak memory, MiB', '0'), ('params_m', 'params, M', '0.00'), ('macs_g', 'MACs, G', '0.00')),
    *(('accuracy', 'published top-1, %', '0.0'), ('scope', 'scope', None), ('runs', 'runs', '0')),
    *(('device_name', 'device', None), ('time', 'time', None)),
)
"""Columns of the table: field, title, and the format of numbers."""

_TIPS = [
    ('network', '@network'),
    ('backend', '@backend @mode @precision'),
    ('input', '@scope, @input'),
    ('p50 / p90', '@p50_ms{0.00} / @p90_ms{0.00} ms'),
    ('of the limit', '@share{0.0} %'),
    ('MACs, params', '@macs_g{0.00} G, @params_m{0.0} M'),
    ('peak memory', '@memory_mib{0} MiB'),
    ('published top-1', '@accuracy{0.0} %'),
    ('status', '@flag'),
]
"""The text at a point."""


def html_page(rows: Sequence[Mapping], baseline: tuple[str, str] | None = None) -> str:
    """The page.

    Args:
        rows: Rows of :func:`~mmtrtvit.report.rows.read_reported`.
        baseline: Field and value that the latencies are compared with; another can be chosen on the page.

    Returns:
        HTML that needs no other file and no network.

    Raises:
        ConfigError: If Bokeh is not installed.
    """
    if models is None:
        raise ConfigError(
            'The page needs Bokeh, which is not installed.',
            expected='the packages of requirements/report.txt',
            fix='pip install -r requirements/report.txt, or ask for tables with --out NAME.md',
        )
    return _Page(rows, baseline).html()


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding='utf-8')


class _Page:
    """The models of the page. Whatever shows rows has a source of its own, and a filter that the controls set.

    Args:
        rows: The rows.
        baseline: Field and value of the first baseline.
    """

    def __init__(self, rows: Sequence[Mapping], baseline: tuple[str, str] | None) -> None:
        self.rows = rows
        self.targets: list[tuple[Any, Any]] = []
        self.labels: list[Any] = []
        self.stages: dict[str, str] = {}
        self.groups = list(dict.fromkeys(map(_group, rows)))
        self.colours = dict(zip(self.groups, itertools.cycle(_COLOURS)))
        self.markers = dict(zip(dict.fromkeys(row['backend'] for row in rows), itertools.cycle(_MARKERS)))
        self.records = [self.drawn(row) for row in rows]
        self.over = {f'{field}={value}': ratios(rows, field, value) for field, value in baselines(rows)}
        if baseline:
            self.over.setdefault('='.join(baseline), ratios(rows, *baseline))
        self.first = '='.join(baseline) if baseline else 'none'

    def drawn(self, row: Mapping) -> dict:
        """The fields of the controls as text, the colour and mark of a row, and the text that a search looks at."""
        settings = {name: 'none' if row[name] is None else str(row[name]) for name in _FILTERS}
        return dict(
            settings,
            network=row['network'],
            name=row['name'],
            flag=row['flag'],
            colour=self.colours[_group(row)],
            marker=self.markers[row['backend']],
            fill=0.85 if row['flag'] == 'OK' else 0.0,
            text=' '.join([row['network'], row['source'] or '', row['flag'], *settings.values()]).lower(),
        )

    def source(self, records: Sequence[Mapping]) -> dict[str, Any]:
        """Records as source and view of a glyph or a table."""
        names = dict.fromkeys(name for record in records for name in record)
        source = models.ColumnDataSource(
            {name: [float('nan') if record.get(name) is None else record[name] for record in records] for name in names}
        )
        chosen = models.IndexFilter(indices=list(range(len(records))))
        self.targets.append((source, chosen))
        return dict(source=source, view=models.CDSView(filter=chosen))

    def html(self) -> str:
        """All of it."""
        measured = [{**row, **record} for row, record in zip(self.rows, self.records, strict=True)]
        kept = dict.fromkeys([*(name for name, *_ in _COLUMNS if name != 'over'), *self.records[0]])
        shown = [{name: row[name] for name in kept} for row in measured]
        for number, record in enumerate(shown):
            record.update({name: values[number] for name, values in self.over.items()}, nothing=None)
            record['over'] = record.get(self.first)
        points = self.source(shown)  # the first target: the rows of the table
        plots = {
            'Latency and published accuracy': self.accuracy(points),
            'Latency and cost': self.scatter(points, 'macs_g', 'multiply-accumulates, G'),
            'Distance to the limit': self.scatter(points, 'share', 'share of the limit, %', log=False),
            'Parts': self.parts(),
            **{
                f'{what} along {title}': self.growth(along, quantity)
                for along, title in GROWTH.items()
                for what, quantity in _GROWS
            },
        }
        plots = {title: plot for title, plot in plots.items() if plot is not None}
        for number, plot in enumerate(plots.values()):
            plot.name = f'plot{number}'
        count = models.Div(text='', name='count')
        controls, show = self.controls(count, plots.get('Parts'))
        document = Document()
        for model in [*controls, *plots.values(), count, self.table(points)]:
            document.add_root(model)
        document.js_on_event('document_ready', show)
        return file_html(
            document,
            INLINE,
            TITLE,
            template=_text('page.html.jinja'),
            template_variables=dict(
                summary=summary(self.rows),
                filters=[control.name for control in controls],
                plots={title: plot.name for title, plot in plots.items()},
                colours=self.colours,
                stages=self.stages,
                marks={TITLES.get(name, name): _MARKERS[marker] for name, marker in self.markers.items()},
                failed=[row for row in self.rows if row['status'] == 'FAILED'],
                sources=list(dict.fromkeys(row['accuracy_of'] for row in self.rows if row['accuracy_of'])),
            ),
        )

    def controls(self, count: Any, bars: Any) -> tuple[list[Any], Any]:
        """A search, a selection for each field in which rows differ, and the baseline; and what they call.

        At first the rows of the most common scope and input are shown: others cannot be compared with them.
        """
        first = collections.Counter((record['scope'], record['input']) for record in self.records).most_common(1)[0][0]
        value = dict.fromkeys(_FILTERS, 'all') | dict(zip(('scope', 'input'), first))
        selects = []
        for name in _FILTERS:
            values = sorted({record[name] for record in self.records})
            if len(values) > 1:
                options = [('all', 'all'), *((value, value) for value in values)]
                title = _FILTERS[name]
                selects.append(models.Select(title=title, value=value[name], options=options, name=name, width=160))
        options = ['none', *self.over]
        baseline = models.Select(title='baseline', value=self.first, options=options, name='baseline', width=160)
        search = models.TextInput(title='search', placeholder='words, such as: trt-vit a', name='search', width=160)
        arguments = dict(targets=self.targets, selects=selects, search=search, baseline=baseline)
        arguments |= dict(count=count, bars=bars, labels=self.labels)
        show = models.CustomJS(args=arguments, code=_text('page.js'))
        for control in [*selects, baseline]:
            control.js_on_change('value', show)
        search.js_on_change('value_input', show)
        return [search, *selects, baseline], show

    def table(self, points: Mapping) -> Any:
        """The table of all rows, its columns as wide as their longest text."""
        columns = []
        for name, title, form in _COLUMNS:
            values = points['source'].data[name]
            if form is None:
                cell = models.HTMLTemplateFormatter(template=_FLAG if name == 'flag' else '<%- value %>')
                longest = max(map(len, map(str, values)))
            else:
                cell, longest = models.NumberFormatter(format=form, nan_format='-', text_align='right'), 8
            width = min(30 + 7 * max(longest, len(title) + 2), 170 if name == 'flag' else 360)
            columns.append(models.TableColumn(field=name, title=title, formatter=cell, width=width))
        return models.DataTable(
            **points,
            columns=columns,
            name='table',
            autosize_mode='none',
            frozen_columns=1,
            index_position=None,
            reorderable=False,
            height=min(80 + 25 * len(self.rows), 640),
            sizing_mode='stretch_width',
        )

    def figure(self, x: str, y: str, tips: Sequence[tuple[str, str]] = (), **settings: Any) -> Any:
        """An empty figure. The wheel scrolls the page until its tool is chosen."""
        drawing = plotting.figure(
            height=460,
            sizing_mode='stretch_width',
            x_axis_label=x,
            y_axis_label=y,
            tools='pan,wheel_zoom,box_zoom,reset,save',
            active_drag=None,
            **settings,
        )
        drawing.toolbar.logo = None
        if tips:
            drawing.add_tools(models.HoverTool(tooltips=list(tips), mode='mouse'))
        for axis in drawing.axis:
            if isinstance(axis, models.LogAxis):
                axis.ticker = models.FixedTicker(ticks=_TICKS)
                axis.formatter = models.NumeralTickFormatter(format='0.[000]a')
        for scale in (drawing.x_range, drawing.y_range):
            if isinstance(scale, models.DataRange1d):
                scale.range_padding = 0.2
        return drawing

    def scatter(self, points: Mapping, y: str, title: str, log: bool = True) -> Any | None:
        """Latency against another column, a mark for each row; None if no row has it."""
        if not any(row[y] is not None for row in ran(self.rows)):
            return None
        drawing = self.figure(
            _QUANTITIES['p50_ms'], title, _TIPS, x_axis_type='log', y_axis_type='log' if log else 'linear'
        )
        marks = drawing.scatter(
            'p50_ms', y, marker='marker', size=11, color='colour', line_width=2, fill_alpha='fill', **points
        )
        labels = drawing.text('p50_ms', y, 'name', x_offset=8, y_offset=-4, **_LABEL, **points)
        labels.tags = [_MANY_POINTS]
        self.labels.append(labels)
        drawing.hover.renderers = [marks]
        return drawing

    def accuracy(self, points: Mapping) -> Any | None:
        """Latency against published accuracy, with the Pareto front of each setting; None without accuracy."""
        drawing = self.scatter(points, 'accuracy', 'published ImageNet top-1, %', log=False)
        if drawing is None:
            return None
        lines = []
        for settings, front in fronts(self.rows):
            corners = [corner for first, then in zip(front, front[1:]) for corner in (first, (then[0], first[1]))]
            record = {name: str(value) for name, value in settings.items() if name in _FILTERS}
            x, y = zip(*corners, front[-1], strict=True)
            lines.append(dict(record, x=list(x), y=list(y), text=' '.join(record.values()).lower()))
        drawing.multi_line('x', 'y', line_color='#777777', line_dash='dotted', line_width=1.5, **self.source(lines))
        return drawing

    def growth(self, along: str, quantity: str) -> Any | None:
        """Latency or memory along a quantity, a line for each network; None if nothing was varied."""
        lines = []
        for line in growth(self.rows, along):
            x, y = line.values(quantity)
            power = line.exponent(quantity)
            if power is not None:
                record = self.drawn(line.rows[0])
                kept = {
                    name: record[name] for name in ('colour', 'text', *_FILTERS) if along == 'macs' or name != 'input'
                }
                lines.append(dict(kept, x=x, y=y, last_x=x[-1], last_y=y[-1], title=line.title, power=power))
        if not lines:
            return None
        tips = [('', '@title'), ('backend', '@backend @mode @precision'), ('exponent', '@power{0.00}')]
        drawing = self.figure(GROWTH[along], _QUANTITIES[quantity], tips, x_axis_type='log', y_axis_type='log')
        source = self.source(lines)
        drawing.multi_line('x', 'y', line_color='colour', line_width=2.5, line_alpha=0.8, **source)
        labels = drawing.text('last_x', 'last_y', 'title', text_align='right', y_offset=-6, **_LABEL, **source)
        labels.tags = [_MANY_LINES]
        self.labels.append(labels)
        if along != 'macs':
            rows = [row for line in growth(self.rows, along) for row in line.rows]
            ticks = {row[along]: str(row['batch']) if along == 'batch' else row['size'] for row in rows}
            drawing.xaxis.ticker = models.FixedTicker(ticks=sorted(ticks))
            drawing.xaxis.major_label_overrides = ticks
            drawing.xaxis.major_label_orientation = 0.6 if along == 'pixels' else 'horizontal'
        return drawing

    def parts(self) -> Any | None:
        """The parts of each row that has some, as bars one after the other; None without."""
        bars = []
        for row, record in zip(self.rows, self.records, strict=True):
            left, parts = 0.0, (row['parts_ms'] or {}) if row['status'] == 'OK' else {}
            case = case_title([row[key] for key in ('backend', 'mode', 'precision')])
            for part, value in parts.items():
                bar = {name: record[name] for name in ('text', *_FILTERS)}
                bar.update(row=f'{row["network"]}\n{row["scope"]} {row["input"]}\n{case}', part=part, value=value)
                bar.update(left=left, right=left + value, percent=100 * value / row['p50_ms'])
                stage = part.split('.')[0]  # 'stage 1.0' is the first block of 'stage 1'
                if stage not in self.stages:
                    self.stages[stage] = _COLOURS[len(self.stages) % len(_COLOURS)]
                bars.append(dict(bar, colour=self.stages[stage]))
                left += value
        if not bars:
            return None
        names = list(dict.fromkeys(bar['row'] for bar in bars))
        tips = [('', '@row'), ('part', '@part'), ('time', '@value{0.00} ms, @percent{0.0} % of the latency')]
        drawing = self.figure('ms (medians)', '', tips, y_range=names[::-1])
        drawing.height = 90 + 50 * len(names)
        drawing.hbar(
            'row',
            left='left',
            right='right',
            height=0.75,
            fill_color='colour',
            line_color='white',
            line_width=0.5,
            **self.source(bars),
        )
        return drawing


def _group(row: Mapping) -> str:
    """Rows of one colour: a family of this package, or wherever else the network is from."""
    return FAMILIES[row['family']].title if row['family'] in FAMILIES else row['origin'] or row['scope']
