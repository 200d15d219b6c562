// Shows the rows that the controls ask for. Every target is a source and its filter; the first is that of the table.
const words = search.value_input.toLowerCase().split(/\s+/).filter((word) => word);
const asked = selects.filter((select) => select.value !== 'all');
for (const [source, filter] of targets) {
  const data = source.data;
  const kept = [];
  for (let i = 0; i < source.get_length(); i++) {
    const chosen = asked.every((select) => !(select.name in data) || data[select.name][i] === select.value);
    if (chosen && words.every((word) => data.text[i].includes(word))) kept.push(i);
  }
  filter.indices = kept;
}
const [rows, shown] = targets[0];
rows.data = { ...rows.data, over: rows.data[baseline.value === 'none' ? 'nothing' : baseline.value] };
const failed = shown.indices.filter((i) => rows.data.flag[i].startsWith('FAILED')).length;
count.text = `${shown.indices.length} of ${rows.get_length()} rows` + (failed ? `, ${failed} of them FAILED` : '');
for (const label of labels) label.visible = label.view.filter.indices.length <= label.tags[0];
if (bars !== null) {
  const { data_source, view } = bars.renderers[0];
  const factors = [...new Set(view.filter.indices.map((i) => data_source.data.row[i]))].reverse();
  bars.y_range.factors = factors;
  bars.visible = factors.length > 0;
  bars.height = 90 + 50 * Math.max(factors.length, 1);
}
