/*
 * Exports the annotations of the open image for slideloom. QuPath 0.1 (its API as of 0.1.2).
 *
 * It writes <project>/rois/<image>.csv. Holes become rings of their own, which slideloom takes for holes because they
 * lie within a ring of the same class: QuPath 0.1 does not tell outlines and holes apart.
 * If QuPath crops the slide to its scanned area, set bounds = "add" for the source "qupath-csv".
 */
import java.awt.geom.PathIterator
import qupath.lib.roi.PathROIToolsAwt
import qupath.lib.roi.interfaces.PathArea

def server = getCurrentImageData().getServer()
def folder = new File(buildFilePath(PROJECT_BASE_DIR, 'rois'))
folder.mkdirs()
def file = new File(folder, server.getShortServerName() + '.csv')
// A spreadsheet takes text that begins so for a formula. An apostrophe makes it text; slideloom takes it off again.
def guarded = { String text ->
    boolean isNumber = text ==~ /[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?/
    return text ==~ /(?s)'*[=+\-@\t\r].*/ && !isNumber ? "'" + text : text
}
def quoted = { value -> value == null ? '' : '"' + guarded(value.toString()).replace('"', '""') + '"' }

def used = new HashSet<String>()
int skipped = 0
file.withWriter('UTF-8') { out ->
    out.write('ROI_Name,X_base,Y_base,label\n')
    getAnnotationObjects().eachWithIndex { annotation, number ->
        def roi = annotation.getROI()
        if (!(roi instanceof PathArea)) {
            skipped++
            return
        }
        String base = annotation.getName() ?: 'ROI_' + number
        String name = base
        for (int i = 2; !used.add(name); i++) {
            name = base + ' (' + i + ')'
        }
        String tail = ',' + quoted(annotation.getPathClass() == null ? null : annotation.getPathClass().getName()) + '\n'
        // Curves become lines that are at most half a pixel away.
        def outline = PathROIToolsAwt.getShape(roi).getPathIterator(null, 0.5d)
        double[] point = new double[6]
        int ring = -1
        while (!outline.isDone()) {
            int kind = outline.currentSegment(point)
            if (kind == PathIterator.SEG_MOVETO) {
                ring++
            }
            if (kind != PathIterator.SEG_CLOSE) {
                String ringName = ring > 0 ? name + '_ring' + ring : name
                out.write(quoted(ringName) + ',' + point[0] + ',' + point[1] + tail)
            }
            outline.next()
        }
    }
}
println 'Wrote ' + file + (skipped > 0 ? '; ' + skipped + ' lines or points left out' : '')
