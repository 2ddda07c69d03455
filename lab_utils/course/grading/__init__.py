"""The parts of `lab_utils.course.grade`: work found in notebooks, run, judged, and put into tables and reports."""
