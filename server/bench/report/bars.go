package report

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// barWidth is that of one bar.
const barWidth = 0.42 * vg.Inch

// bars paints a panel with named places, a bar of each line beside each other at each. A figure stands over its bar.
func (t *theme) bars(p *Panel, g *plot.Plot, legend *plot.Legend) error {
	for i, l := range p.Lines {
		b, err := plotter.NewBarChart(plotter.Values(l.Y), barWidth)
		if err != nil {
			return err
		}
		b.Color, b.LineStyle.Width = t.lines[i%len(t.lines)], 0
		b.Offset = barWidth * vg.Length(float64(i)-float64(len(p.Lines)-1)/2)
		g.Add(b)
		legend.Add(l.Name, b)
		if err := t.figures(&l, b.Offset, g); err != nil {
			return err
		}
	}
	g.NominalX(p.Names...)
	g.X.Min, g.X.Max = -0.6, float64(len(p.Names))-0.4
	g.Y.Max *= 1.06                       // room for the figures
	g.X.Width, g.Y.Padding = g.Y.Width, 0 // NominalX sets them otherwise
	return nil
}

func (t *theme) figures(l *Line, offset vg.Length, g *plot.Plot) error {
	var at plotter.XYLabels
	for i, v := range l.Y {
		at.XYs = append(at.XYs, plotter.XY{X: l.X[i], Y: v})
		at.Labels = append(at.Labels, short(v))
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return err
	}
	for i := range labels.TextStyle {
		style := t.text(9.5, sans)
		style.XAlign = -0.5
		labels.TextStyle[i] = style
	}
	labels.Offset = vg.Point{X: offset, Y: vg.Points(2)}
	g.Add(labels)
	return nil
}
