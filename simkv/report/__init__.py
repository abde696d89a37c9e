"""What people get to see of a comparison: summary, tables, figures and the results folder."""
