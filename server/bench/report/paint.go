package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// theme are a picture's colours.
type theme struct {
	paper, ink, grid, shade color.Color
	lines                   []color.NRGBA
	cross                   color.NRGBA
}

func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 255}
}

// The line colours are told apart by the colour-blind (after Okabe and Ito 2008), darker on light paper.
var (
	light = theme{
		paper: rgb(0xffffff), ink: rgb(0x1f2328), grid: rgb(0xe4e7eb), shade: rgb(0xf1f5f9), cross: rgb(0xcf222e),
		lines: []color.NRGBA{rgb(0x0072b2), rgb(0xd55e00), rgb(0x009e73), rgb(0xb0569a), rgb(0x8a6d00), rgb(0x444c56)},
	}
	dark = theme{
		paper: rgb(0x161b22), ink: rgb(0xe6edf3), grid: rgb(0x30363d), shade: rgb(0x1f2630), cross: rgb(0xff7b72),
		lines: []color.NRGBA{rgb(0x56b4e9), rgb(0xff9d4d), rgb(0x3fc9a0), rgb(0xe09ccb), rgb(0xf0e442), rgb(0xc9d1d9)},
	}
)

// Sizes of a picture. A panel's legend stands beside it, so that it covers no data.
const (
	dpi         = 144
	width       = 10 * vg.Inch
	panelHeight = 2.7 * vg.Inch
	tallPanel   = 4.6 * vg.Inch // of a picture with one panel
	titleHeight = 0.5 * vg.Inch
	legendWidth = 2.3 * vg.Inch
	margin      = 0.12 * vg.Inch
)

var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

// PNG paints a chart, on dark paper or on white.
func PNG(c Chart, onDark bool) ([]byte, error) {
	t := light
	if onDark {
		t = dark
	}
	each := panelHeight
	if len(c.Panels) == 1 {
		each = tallPanel
	}
	height := titleHeight + each*vg.Length(len(c.Panels))
	img := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(t.paper))
	canvas := draw.New(img)
	title := t.text(16, sans)
	title.XAlign, title.YAlign = text.XLeft, text.YTop
	canvas.FillText(title, vg.Point{X: 2 * margin, Y: canvas.Max.Y - margin}, c.Title)
	if err := t.panels(c.Panels, draw.Crop(canvas, margin, 0, margin, -titleHeight)); err != nil {
		return nil, fmt.Errorf("paint %s: %w", c.Name, err)
	}
	var out bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: img}).WriteTo(&out); err != nil {
		return nil, fmt.Errorf("encode %s: %w", c.Name, err)
	}
	return out.Bytes(), nil
}

func (t *theme) text(size vg.Length, f font.Font) text.Style {
	f.Size = size
	return text.Style{Color: t.ink, Font: f, Handler: plot.DefaultTextHandler}
}

// panels paints them below each other, their axes in line.
func (t *theme) panels(panels []Panel, c draw.Canvas) error {
	plots := make([][]*plot.Plot, len(panels))
	legends := make([]plot.Legend, len(panels))
	for i := range panels {
		p, legend, err := t.panel(&panels[i])
		if err != nil {
			return err
		}
		plots[i], legends[i] = []*plot.Plot{p}, legend
		if panels[i].X == panels[0].X { // one axis for all of them
			plots[0][0].X.Max = max(plots[0][0].X.Max, p.X.Max)
		}
	}
	for i := range panels {
		if panels[i].X == panels[0].X && !panels[i].LogX {
			plots[i][0].X.Max = plots[0][0].X.Max
		}
	}
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: 2 * margin, PadBottom: margin / 2, PadTop: margin / 2}
	left := draw.Crop(c, 0, -legendWidth, 0, 0)
	places := plot.Align(plots, tiles, left)
	for i, row := range plots {
		row[0].Draw(places[i][0])
		beside := places[i][0]
		beside.Min.X, beside.Max.X = left.Max.X+margin, c.Max.X-margin
		legends[i].Draw(beside)
	}
	return nil
}

func (t *theme) panel(p *Panel) (*plot.Plot, plot.Legend, error) {
	g := plot.New()
	legend := plot.NewLegend()
	legend.Top, legend.Left, legend.Padding = true, true, vg.Points(3)
	legend.ThumbnailWidth = vg.Points(26)
	legend.TextStyle = t.text(10.5, sans)
	g.BackgroundColor = t.paper
	t.axis(&g.X, p.X)
	t.axis(&g.Y, p.Y)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = t.grid, t.grid
	if len(p.Window) == 2 {
		g.Add(&shade{from: p.Window[0], to: p.Window[1], colour: t.shade})
		legend.Add("steady window", &shade{colour: t.shade})
	}
	g.Add(grid)
	t.bounds(g, p)
	if len(p.Names) > 0 {
		return g, legend, t.bars(p, g, &legend)
	}
	for i := range p.Lines {
		colour := t.lines[i%len(t.lines)]
		if p.Lines[i].Style == Crosses {
			colour = t.cross
		}
		if err := line(&p.Lines[i], colour, g, &legend); err != nil {
			return nil, legend, err
		}
	}
	return g, legend, nil
}

func (t *theme) axis(a *plot.Axis, label string) {
	a.Color, a.Tick.Color, a.Tick.LineStyle.Color = t.ink, t.ink, t.ink
	a.Label.Text = label
	style := t.text(11, sans)
	style.XAlign, style.YAlign = a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign
	style.Rotation = a.Label.TextStyle.Rotation
	a.Label.TextStyle = style
	ticks := t.text(10, sans)
	ticks.XAlign, ticks.YAlign = a.Tick.Label.XAlign, a.Tick.Label.YAlign
	a.Tick.Label = ticks
	a.Tick.Marker = ticker{}
	a.Padding = 0
}

// bounds fit all data. Axes begin at zero, unless they are logarithmic.
func (t *theme) bounds(g *plot.Plot, p *Panel) {
	xs, ys := span{}, span{}
	for _, l := range p.Lines {
		for _, v := range l.X {
			xs.take(v)
		}
		for _, v := range append(append([]float64{}, l.Y...), l.High...) {
			ys.take(v)
		}
	}
	g.X.Min, g.X.Max = 0, positive(xs.high*1.03)
	g.Y.Min, g.Y.Max = 0, positive(ys.high*1.06)
	if p.Y == percentLabel {
		g.Y.Max = 101
	}
	if p.LogX && xs.low > 0 {
		g.X.Scale, g.X.Tick.Marker = plot.LogScale{}, logTicker{}
		g.X.Min, g.X.Max = xs.low*0.9, xs.high*1.1
	}
}

func positive(v float64) float64 {
	if v > 0 {
		return v
	}
	return 1
}

type span struct {
	low, high float64
	some      bool
}

func (s *span) take(v float64) {
	if !s.some {
		s.low, s.high, s.some = v, v, true
	}
	s.low, s.high = math.Min(s.low, v), math.Max(s.high, v)
}

// line adds l to g and to the legend.
func line(l *Line, colour color.NRGBA, g *plot.Plot, legend *plot.Legend) error {
	points := make(plotter.XYs, len(l.X))
	for i := range points {
		points[i].X, points[i].Y = l.X[i], l.Y[i]
	}
	if len(l.Low) == len(l.X) && len(l.X) > 1 {
		if err := band(l, colour, g); err != nil {
			return err
		}
	}
	var thumbs []plot.Thumbnailer
	if l.Style == Plain || l.Style == Marked || l.Style == Dashed || l.Style == Steps {
		stroke, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		stroke.LineStyle = draw.LineStyle{Color: colour, Width: vg.Points(1.8)}
		if l.Style == Dashed {
			stroke.Dashes = []vg.Length{vg.Points(5), vg.Points(4)}
		}
		if l.Style == Steps {
			stroke.StepStyle = plotter.PostStep
		}
		g.Add(stroke)
		thumbs = append(thumbs, stroke)
	}
	if l.Style == Points || l.Style == Marked || l.Style == Crosses || len(points) == 1 {
		dots, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: colour, Radius: vg.Points(3), Shape: draw.CircleGlyph{}}
		if l.Style == Crosses {
			dots.GlyphStyle.Shape, dots.GlyphStyle.Radius = draw.CrossGlyph{}, vg.Points(5)
		}
		g.Add(dots)
		thumbs = append(thumbs, dots)
	}
	legend.Add(l.Name, thumbs...)
	return nil
}

func band(l *Line, colour color.NRGBA, g *plot.Plot) error {
	var edge plotter.XYs
	for i := range l.X {
		edge = append(edge, plotter.XY{X: l.X[i], Y: l.High[i]})
	}
	for i := len(l.X) - 1; i >= 0; i-- {
		edge = append(edge, plotter.XY{X: l.X[i], Y: l.Low[i]})
	}
	area, err := plotter.NewPolygon(edge)
	if err != nil {
		return err
	}
	colour.A = 50
	area.Color, area.LineStyle.Width = colour, 0
	g.Add(area)
	return nil
}

// shade fills a part of the x axis over the full height.
type shade struct {
	from, to float64
	colour   color.Color
}

// Plot implements plot.Plotter.
func (s *shade) Plot(c draw.Canvas, g *plot.Plot) {
	x, _ := g.Transforms(&c)
	a, b := max(c.Min.X, x(s.from)), min(c.Max.X, x(s.to))
	c.FillPolygon(s.colour, []vg.Point{{X: a, Y: c.Min.Y}, {X: b, Y: c.Min.Y}, {X: b, Y: c.Max.Y}, {X: a, Y: c.Max.Y}})
}

// Thumbnail implements plot.Thumbnailer.
func (s *shade) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(s.colour, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
}
