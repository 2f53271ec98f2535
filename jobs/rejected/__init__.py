"""`make rejected`: what lies in the topic of rejections, and what can be done with it."""
