// Package report draws a bench.Result: PNG plots, and one HTML page that stands alone (no network, light and dark).
//
// It has two halves. Charts turns a result into the lines of each picture, as plain data; that is what is tested. The
// other half paints a Chart with gonum/plot and writes the page. A figure that the result does not have is left out, and
// one that cannot be drawn honestly (a fit that is not identifiable) is replaced by the reason.
package report
