// Draws one dashboard as Grafana would, with its own panel components: what `window.dashboard` says, filled with
// `window.answers` (see __main__.py). @grafana/ui has no component for a state timeline: such a panel says so.
import {
  createTheme, dateTime, EventBusSrv, FieldType, getDisplayProcessor, getFieldSeriesColor, MutableDataFrame, ThresholdsMode,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, ThemeContext, TimeSeries } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

type Answer = { name: string; points: Array<[number, number | null]> };
type Panel = any;

const { dashboard, answers, from, to, width } = window as any;
const theme = createTheme({ colors: { mode: 'light' } });
const ROW = 38;
const GAP = 8;
const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };

function configOf(panel: Panel, name: string) {
  const { defaults, overrides } = panel.fieldConfig;
  const config = structuredClone(defaults);
  // JSON cannot say -Infinity, which the lowest step means.
  config.thresholds.steps[0].value = -Infinity;
  config.thresholds.mode = ThresholdsMode.Absolute;
  for (const { matcher, properties } of overrides ?? []) {
    if (new RegExp(matcher.options.slice(1, -1)).test(name)) {
      for (const { id, value } of properties) {
        config.custom[id.replace('custom.', '')] = value;
      }
    }
  }
  return config;
}

function frames(panel: Panel, series: Answer[]) {
  return series.map((one, index) => {
    const frame: any = new MutableDataFrame({
      fields: [
        { name: 'Time', type: FieldType.time, values: one.points.map(([t]) => t) },
        { name: one.name, type: FieldType.number, values: one.points.map(([, v]) => v) },
      ],
    });
    frame.refId = String(index);
    const field = frame.fields[1];
    field.config = { ...configOf(panel, one.name), displayNameFromDS: one.name };
    field.state = { seriesIndex: index, displayName: one.name };
    for (const each of frame.fields) {
      each.display = getDisplayProcessor({ field: each, theme, timeZone: 'utc' });
    }
    return frame;
  });
}

function Figures({ panel, series, width, height }: any) {
  const each = Math.floor(width / Math.max(series.length, 1));
  return (
    <div style={{ display: 'flex' }}>
      {frames(panel, series).map((frame: any) => {
        const field = frame.fields[1];
        const value = field.values[field.values.length - 1];
        return (
          <BigValue
            key={frame.refId}
            theme={theme}
            width={each}
            height={height}
            count={series.length}
            colorMode={panel.options.colorMode}
            graphMode={panel.options.graphMode}
            textMode={panel.options.textMode}
            value={{ ...field.display(value), title: field.state.displayName }}
          />
        );
      })}
    </div>
  );
}

function Course({ panel, series, width, height }: any) {
  const drawn = frames(panel, series);
  for (const frame of drawn) {
    getFieldSeriesColor(frame.fields[1], theme);
  }
  return (
    <TimeSeries
      frames={drawn} width={width} height={height} timeRange={timeRange as any} timeZone="browser"
      legend={panel.options.legend}
    />
  );
}

function Note({ children }: any) {
  return <div style={{ padding: 16, color: theme.colors.text.secondary }}>{children}</div>;
}

function One({ panel }: { panel: Panel }) {
  const { x, y, w, h } = panel.gridPos;
  const column = (width - GAP) / 24;
  const size = { width: Math.floor(w * column - GAP), height: h * ROW - GAP };
  const series: Answer[] = answers[panel.id] ?? [];
  const Kind = panel.type === 'stat' ? Figures : Course;
  return (
    <div style={{ position: 'absolute', left: GAP + x * column, top: GAP + y * ROW }}>
      <PanelChrome title={panel.title} {...size}>
        {(innerWidth, innerHeight) =>
          panel.type === 'state-timeline' ? (
            <Note>(a state timeline, which only a whole Grafana draws 状态时间线，仅完整的 Grafana 可绘制)</Note>
          ) : series.length ? (
            <Kind panel={panel} series={series} width={innerWidth} height={innerHeight} />
          ) : (
            <Note>{panel.fieldConfig.defaults.noValue}</Note>
          )
        }
      </PanelChrome>
    </div>
  );
}

const { panels } = dashboard;
const bottom = Math.max(...panels.map(({ gridPos }: Panel) => gridPos.y + gridPos.h));
createRoot(document.getElementById('root')!).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <PanelContextProvider value={{ eventBus: new EventBusSrv(), eventsScope: 'global' } as any}>
      <div id="board" style={{ position: 'relative', width, height: bottom * ROW + GAP,
        background: theme.colors.background.canvas }}>
        {panels.map((panel: Panel) => <One key={panel.id} panel={panel} />)}
      </div>
    </PanelContextProvider>
  </ThemeContext.Provider>
);
