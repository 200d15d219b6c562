"""The page in Chromium: what the table and the plots show, and that it asks for nothing."""

import json
import shutil
import time

import pytest

from mmtrtvit.measurement import append_row
from mmtrtvit.report import write_report

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason='needs Chromium and its driver (chromium, chromium-driver)'),
]
FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage')

ELEMENTS = """
const found = [];
const visit = (root) => {
  for (const node of root.querySelectorAll('*')) {
    if (node.shadowRoot) visit(node.shadowRoot);
    if (node.matches(arguments[0])) found.push(node);
  }
};
visit(document);
return found;
"""
"""Every element that a selector finds, inside shadow roots as well."""


@pytest.fixture(scope='module')
def browser():
    """Chromium with 1400 pixels of width."""
    pytest.importorskip('bokeh')
    webdriver = pytest.importorskip('selenium.webdriver')
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, '--window-size=1400,1000'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
    yield driver
    driver.quit()


class Page:
    """The opened page, looked at from outside."""

    def __init__(self, browser, path):
        self.browser = browser
        browser.get(path.as_uri())
        self.wait(lambda: 'rows' in self.count)

    def wait(self, true, seconds=20):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, 'it did not become true'
            time.sleep(0.05)

    def elements(self, selector):
        return self.browser.execute_script(ELEMENTS, selector)

    @property
    def count(self):
        return ' '.join(element.text for element in self.browser.find_elements('id', 'count'))

    def texts(self, selector):
        """The texts of elements from top to bottom, and from left to right."""
        found = self.browser.execute_script(
            f"""{ELEMENTS.replace('arguments[0]', repr(selector)).replace('return found;', '')}
            const place = (element) => element.getBoundingClientRect();
            return found.map((element) => [place(element).y, place(element).x, element.textContent]);"""
        )
        return [text for _, _, text in sorted(found)]

    def column(self, title):
        """The cells of a column of the table as they stand below each other."""
        return self.texts(f'.slick-cell.l{self.texts(".slick-header-column").index(title)}')

    def sort(self, title):
        before = self.column(title)
        (header,) = [element for element in self.elements('.slick-header-column') if element.text == title]
        header.click()
        self.wait(lambda: self.column(title) != before)

    def choose(self, name, value):
        field = 'value_input' if name == 'search' else 'value'
        self.browser.execute_script(f'Bokeh.documents[0].get_model_by_name({name!r}).{field} = {value!r}')
        time.sleep(0.3)

    def shown(self, plot):
        """Points of a plot that are drawn, by their names."""
        return self.browser.execute_script(
            f"""const plot = Bokeh.documents[0].get_model_by_name('plot{plot}');
            const {{ data_source, view }} = plot.renderers[0];
            return view.filter.indices.map((i) => data_source.data.name[i]);"""
        )


@pytest.fixture(scope='module')
def path(rows, root, tmp_path_factory):
    folder = tmp_path_factory.mktemp('page')
    for row in rows:
        append_row(row, folder / 'rows.jsonl')
    return write_report([folder / 'rows.jsonl'], folder / 'page.html', root=root)


@pytest.fixture
def opened(browser, path):
    browser.get_log('browser'), browser.get_log('performance')
    yield Page(browser, path)
    wrong = [entry for entry in browser.get_log('browser') if entry['level'] == 'SEVERE']
    assert not wrong, wrong


def requests(browser):
    messages = [json.loads(entry['message'])['message'] for entry in browser.get_log('performance')]
    return [
        message['params']['request']['url'] for message in messages if message['method'] == 'Network.requestWillBeSent'
    ]


def test_it_asks_for_nothing(browser, opened):
    asked = requests(browser)
    assert any(url.startswith('file:') and url.endswith('page.html') for url in asked)
    assert {url.split(':')[0] for url in asked} <= {'file', 'data'}


def test_rows_that_can_be_compared_come_first(opened):
    assert opened.count == '6 of 11 rows, 1 of them FAILED'
    opened.choose('scope', 'all')
    opened.choose('input', 'all')
    assert opened.count == '11 of 11 rows, 1 of them FAILED'


def test_sorting_reorders_the_rows(opened):
    opened.sort('p50 ms')
    times = [float(cell) for cell in opened.column('p50 ms') if cell != '-']
    assert times == sorted(times) and len(times) == 5
    opened.sort('p50 ms')
    times = [float(cell) for cell in opened.column('p50 ms') if cell != '-']
    assert times == sorted(times, reverse=True)
    names = opened.column('network')
    opened.sort('network')
    assert opened.column('network') == sorted(names) != names


def test_filters_and_search_reach_table_and_plots(opened):
    opened.choose('backend', 'onnxruntime')
    assert set(opened.column('backend')) == {'onnxruntime'}
    assert opened.shown(0) == ['Next-ViT-S', 'Next-ViT-L', 'swin (timm)']
    opened.choose('search', 'next-vit-l onnx')
    assert opened.column('network') == ['Next-ViT-L'] and opened.shown(0) == ['Next-ViT-L']
    assert opened.count.startswith('1 of 11')
    opened.choose('search', 'no such network')
    assert opened.count.startswith('0 of 11') and opened.column('network') == []


def test_a_baseline_is_chosen(opened):
    assert set(opened.column('over the baseline')) == {'-'}
    opened.choose('baseline', 'backend=openvino')
    found = zip(opened.column('backend'), opened.column('over the baseline'), strict=True)
    assert set(found) == {('openvino', '1.000'), ('onnxruntime', '3.000'), ('onnxruntime', '-')}


def test_failed_rows_are_seen(opened):
    statuses = opened.column('status')
    assert [text for text in statuses if text.startswith('FAILED: RuntimeError: no <kernel>')]
    assert 'no <kernel> & no hope' in opened.browser.find_element('id', 'failed').text


def test_points_tell_their_row(browser, opened):
    from selenium.webdriver import ActionChains

    canvas = next(element for element in opened.elements('.bk-events') if element.size['width'] > 300)
    browser.execute_script('arguments[0].scrollIntoView({block: "center"})', canvas)
    x, y, box = browser.execute_script("""
        const view = [...Bokeh.index.roots].find((view) => view.model.name === 'plot0');
        const frame = view.frame, data = view.model.renderers[0].data_source.data;
        return [frame.x_scale.compute(data.p50_ms[0]), frame.y_scale.compute(data.accuracy[0]),
                view.canvas_view.events_el.getBoundingClientRect().toJSON()];""")
    ActionChains(browser).move_to_element_with_offset(
        canvas, round(x - box['width'] / 2), round(y - box['height'] / 2)
    ).perform()
    opened.wait(lambda: any('82.5 %' in element.text for element in opened.elements('.bk-Tooltip')))


@pytest.mark.parametrize('width', [1400, 420])
def test_nothing_is_wider_than_the_window(browser, opened, width):
    browser.set_window_size(width, 1000)
    try:
        opened.wait(lambda: browser.execute_script('return window.innerWidth') <= max(width, 500))
        inside, outside = browser.execute_script(
            'return [document.documentElement.scrollWidth, document.documentElement.clientWidth]'
        )
        assert inside <= outside
        plots = [element for element in opened.elements('canvas') if element.size['height'] > 100]
        assert len(plots) >= 6 and all(plot.size['width'] > 200 for plot in plots)
    finally:
        browser.set_window_size(1400, 1000)
